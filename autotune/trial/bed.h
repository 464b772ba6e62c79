/* bed.h: the test bed of fbq-trial: one GPU, a problem's layers on it, and picks as plans that can
 * be checked and timed.
 *
 * Functions return 0, or 1 with the reason in `f`, and b->fault then says whose fault that is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BED_H
#define BED_H

#include "../../bench/floor.h"
#include "../../bench/layers.h"

typedef enum fault {
    FAULT_NONE,   /* it cannot be done: no pick's */
    FAULT_WRONG,  /* the pick in hand computes what is wrong */
    FAULT_BROKEN, /* the pick in hand left nothing to go on with */
    FAULT_SPOILED /* a pick before it did */
} fault;

typedef struct candidate {
    int number; /* by which it is asked for */
    fbq_pick pick;
    fbq_plan *plan; /* NULL: not fit, and why */
    char why[512];
    graph graph; /* built when first timed */
} candidate;

typedef struct bed {
    gpu g;
    fbq_context *fbq;
    double open_ms; /* that fbq_open took */
    char uuid[64];
    size_t cold_bytes;
    fault fault;
    /* the problem in hand */
    fbq_problem problem;
    fbq_kernel kernel; /* of the picks */
    int has_with;
    fbq_pick with; /* the other kernel's */
    layers l;
    unsigned *sum, right_sum; /* of all that no kernel may write */
    uint16_t *right_y;        /* that of the first pick which was right; NULL: none yet */
    const floor_time *floor;
    read_shape floor_shape;
    graph floor_graph;
    candidate *list;
    int count;
    void *scratch, *state;
    size_t scratch_bytes, state_bytes;
} bed;

/* `sms`: 0, or the multiprocessors of a green context to work in. `cubins`: as
 * fbq_options.cubin_folder. */
int bed_open(bed *b, int device, int sms, const char *cubins, fail *f);
void bed_close(bed *b);

/* Layers of random weights of a problem, in place of the one before. */
int bed_problem(bed *b, const fbq_problem *problem, fbq_kernel kernel, fail *f);

/* The other kernel's pick for all that is compiled from now on. */
void bed_with(bed *b, const fbq_pick *with);

/* Compile picks side by side. Those of numbers that are there already are compiled anew. Each is
 * there afterwards, with a plan or without. */
int bed_compile(bed *b, const int *number, const fbq_pick *pick, int count, fail *f);

/* What a program does with the problem: milliseconds of fbq_open (as bed_open did it), fbq_prepare
 * and the first launch to its end, and the programs that were compiled. */
int bed_start(bed *b, double ms[3], int *compiled, fail *f);

/* NULL: there is none. */
candidate *bed_find(bed *b, int number);

/* Run a pick alone, then as it will be timed: y right both times, over the rows that layers_check
 * samples by the reference, over all by the first pick that was right; nothing else written. */
int bed_check(bed *b, candidate *c, double *error, fail *f);

/* Microseconds a layer, of a chain of cold ones. */
int bed_time(bed *b, candidate *c, double *us, fail *f);

/* The same of a kernel that only reads as many bytes. */
int bed_floor(bed *b, double *us, fail *f);

void bed_forget(bed *b, candidate *c);

#endif /* BED_H */
