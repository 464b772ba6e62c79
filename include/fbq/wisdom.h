/* fbq/wisdom.h: what tuning found, as records in memory and in a file, and how a pick is found.
 *
 * A record says: this pick ran this problem on this GPU in so many nanoseconds. fbq_open reads a
 * file of records once, and fbq_prepare takes its picks from there, by a ladder of rungs
 * (fbq_rung); fbq_plan_found tells which one held. docs/tuning.md has the file format.
 *
 * Conventions as in fbq.h. A wisdom may be read by any number of threads at once; a call that
 * changes one wants it for itself. Several processes, and threads with wisdoms of their own, may
 * write one file at once.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_WISDOM_H
#define FBQ_WISDOM_H

#include "version.h"
#include "status.h"
#include "types.h"
#include "pick.h"
#include "problem.h"

#ifdef __cplusplus
extern "C" {
#endif

#define fbq_record_print FBQ_SYMBOL(fbq_record_print)
#define fbq_record_parse FBQ_SYMBOL(fbq_record_parse)
#define fbq_record_seal FBQ_SYMBOL(fbq_record_seal)
#define fbq_wisdom_new FBQ_SYMBOL(fbq_wisdom_new)
#define fbq_wisdom_free FBQ_SYMBOL(fbq_wisdom_free)
#define fbq_wisdom_add FBQ_SYMBOL(fbq_wisdom_add)
#define fbq_wisdom_count FBQ_SYMBOL(fbq_wisdom_count)
#define fbq_wisdom_record FBQ_SYMBOL(fbq_wisdom_record)
#define fbq_wisdom_damaged FBQ_SYMBOL(fbq_wisdom_damaged)
#define fbq_wisdom_warning FBQ_SYMBOL(fbq_wisdom_warning)
#define fbq_wisdom_find FBQ_SYMBOL(fbq_wisdom_find)
#define fbq_pick_shipped FBQ_SYMBOL(fbq_pick_shipped)
#define fbq_wisdom_shipped FBQ_SYMBOL(fbq_wisdom_shipped)
#define fbq_wisdom_path FBQ_SYMBOL(fbq_wisdom_path)
#define fbq_wisdom_read FBQ_SYMBOL(fbq_wisdom_read)
#define fbq_wisdom_write FBQ_SYMBOL(fbq_wisdom_write)
#define fbq_wisdom_forget FBQ_SYMBOL(fbq_wisdom_forget)

/* ------------------------------------------------------------------------------------------------
 * Records
 * --------------------------------------------------------------------------------------------- */

/* How much was done to find a pick; more is trusted more. */
typedef enum fbq_rigor {
    FBQ_RIGOR_ESTIMATE = 1, /* predicted, nothing was run */
    FBQ_RIGOR_MEASURE = 2,
    FBQ_RIGOR_PATIENT = 3
} fbq_rigor;

/* "2026-11-23T13:05:00Z", with its NUL. */
#define FBQ_DATE_BYTES 21

typedef struct fbq_record {
    /* The key. */
    fbq_problem problem; /* m_max stands for its bucket: 1, 2 .. 4, 5 .. 8 or 9 .. 16 rows;
                          * batch_invariant is not kept. A fused record with launches 0 is a choice
                          * between one launch and two: its time is that of both its kernels */
    fbq_gpu gpu;         /* name, capability and sms; the rest is not kept */
    int epoch;           /* FBQ_KERNEL_EPOCH of the kernels that ran */
    /* What was found; pick.kernel belongs to the key. */
    fbq_pick pick;
    /* How it was found. */
    fbq_rigor rigor;
    int64_t median_ns; /* a call of the whole layer in a chain of such, weights cold; 0: not run */
    int64_t spread_ns; /* width of the middle half of its times */
    int nvrtc;         /* version that compiled it, 1000 * major + 10 * minor; 0: unknown */
    int driver;        /* CUDA version of the driver, likewise */
    uint64_t source;   /* hash of the device sources, 0: unknown */
    char date[FBQ_DATE_BYTES]; /* UTC */
} fbq_record;

/* A record as one line of text, without a newline, and back. Printing writes at most `bytes` bytes,
 * always ends with a NUL where there is room for it, and returns the length of the whole text;
 * FBQ_RECORD_BYTES always suffice. The line ends with a checksum, so a line that a disk or an
 * editor has changed is refused. Parsing fails with FBQ_ERR_NULL, FBQ_ERR_WISDOM,
 * FBQ_ERR_UNSUPPORTED for a line of a later version, and for a problem or pick that no GPU runs
 * with the status that says so. */
#define FBQ_RECORD_BYTES 1024
int fbq_record_print(const fbq_record *record, char *text, size_t bytes);
fbq_status fbq_record_parse(const char *text, fbq_record *record, fbq_error *error);

/* Put the checksum behind a line that another program wrote, so that it can be parsed. `text` may
 * be `line`; as printing does, it returns the length of the whole. */
int fbq_record_seal(const char *line, char *text, size_t bytes);

/* ------------------------------------------------------------------------------------------------
 * Wisdom: records in memory
 * --------------------------------------------------------------------------------------------- */

typedef struct fbq_wisdom fbq_wisdom;

/* An empty one. FBQ_ERR_NULL, FBQ_ERR_OUT_OF_HOST. */
fbq_status fbq_wisdom_new(fbq_wisdom **wisdom, fbq_error *error);

/* NULL is fine. */
void fbq_wisdom_free(fbq_wisdom *wisdom);

/* Add a record, which is checked as fbq_record_parse does. Of two with one key the one of higher
 * rigor stays, then the later, then the faster. */
fbq_status fbq_wisdom_add(fbq_wisdom *wisdom, const fbq_record *record, fbq_error *error);

/* How many records there are, and each of them, in no order that means anything; NULL beyond the
 * last. The pointer is good until the wisdom is changed. 0 and NULL for a NULL wisdom. */
size_t fbq_wisdom_count(const fbq_wisdom *wisdom);
const fbq_record *fbq_wisdom_record(const fbq_wisdom *wisdom, size_t index);

/* How many lines that were read are damaged or make no sense, and what is wrong with the first of
 * them, with its file and number; "" where there is none, never NULL. */
size_t fbq_wisdom_damaged(const fbq_wisdom *wisdom);
const char *fbq_wisdom_warning(const fbq_wisdom *wisdom);

/* ------------------------------------------------------------------------------------------------
 * Finding a pick
 * --------------------------------------------------------------------------------------------- */

/* How a pick was found, best first. Every pick passes fbq_pick_check before it is taken. */
typedef enum fbq_rung {
    FBQ_RUNG_GIVEN = 1,      /* the caller brought it */
    FBQ_RUNG_EXACT = 2,      /* a record of this problem on this GPU */
    FBQ_RUNG_SHAPE = 3,      /* of the nearest shape on this GPU */
    FBQ_RUNG_CAPABILITY = 4, /* of a GPU of this compute capability, the nearest in
                              * multiprocessors and shape */
    FBQ_RUNG_SHIPPED = 5,    /* a record that comes with fbq (fbq_pick_shipped) */
    FBQ_RUNG_DEFAULT = 6     /* fbq_pick_default */
} fbq_rung;

typedef struct fbq_found {
    fbq_rung rung;
    fbq_record record; /* that it comes from; zeros for GIVEN and DEFAULT */
} fbq_found;

/* The pick for a problem on a GPU, for calls of the bucket that problem->m_max is in. Records count
 * where kernel, format, types, bucket, launches and epoch are the same, and there are several
 * segments in both or in neither; near is what differs by no more than a factor of two, the factors
 * in N, K, rank and multiprocessors multiplied. wisdom and found may be NULL. Fails as
 * fbq_pick_default does. */
fbq_status fbq_wisdom_find(const fbq_wisdom *wisdom, const fbq_problem *problem, const fbq_gpu *gpu,
                           fbq_kernel kernel, fbq_pick *pick, fbq_found *found, fbq_error *error);

/* The record that comes with fbq for this very problem on a GPU of its capability and number of
 * multiprocessors, FBQ_RUNG_SHIPPED, else what fbq_pick_default gives, FBQ_RUNG_DEFAULT. Such
 * records were measured on the GPU that they name, or predicted for it (record.rigor), and there
 * are only those whose picks are not the default anyway. fbq_prepare takes them where its wisdom
 * knows nothing. found may be NULL. */
fbq_status fbq_pick_shipped(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel,
                            fbq_pick *pick, fbq_found *found, fbq_error *error);

/* All records that come with fbq, as wisdom; release it with fbq_wisdom_free. */
fbq_status fbq_wisdom_shipped(fbq_wisdom **wisdom, fbq_error *error);

/* ------------------------------------------------------------------------------------------------
 * The file
 * --------------------------------------------------------------------------------------------- */

/* Where it is unless said otherwise: $FBQ_CACHE_DIR/wisdom, $XDG_CACHE_HOME/fbq/wisdom or
 * $HOME/.cache/fbq/wisdom, the first that is set. FBQ_ERR_FILE where none is, FBQ_ERR_BUFFER. */
fbq_status fbq_wisdom_path(char *path, size_t bytes, fbq_error *error);

/* Add the records of a file. No file is no records, and FBQ_OK. A line that is damaged costs that
 * line, and a warning. Remarks (#), and whole records that this version cannot use, are passed over
 * in silence, and are written again with the rest. FBQ_ERR_FILE, FBQ_ERR_OUT_OF_HOST. */
fbq_status fbq_wisdom_read(fbq_wisdom *wisdom, const char *path, fbq_error *error);

/* Add the records to a file: lock it, read what it holds by now, merge, write another, let that
 * reach the disk, and put it in place of the old one. Whenever the process or the machine dies, the
 * file is whole, the old or the new one. Folders that are missing are made, for this user alone; an
 * old file's mode stays, and its owner where this user may give it away. Damaged lines
 * move to PATH.bad. FBQ_ERR_FILE; FBQ_ERR_LOCK after 10 seconds of waiting for others (a lock ends
 * with the process that holds it); _OUT_OF_HOST. */
fbq_status fbq_wisdom_write(const fbq_wisdom *wisdom, const char *path, fbq_error *error);

/* Take records out of a file: those that `drop` says 1 of, called with each and with `user`. In the
 * way that fbq_wisdom_write writes, and with its statuses; *dropped, which may be NULL, is how
 * many.
 */
fbq_status fbq_wisdom_forget(const char *path, int (*drop)(const fbq_record *record, void *user),
                             void *user, size_t *dropped, fbq_error *error);

#ifdef __cplusplus
}
#endif

#endif /* FBQ_WISDOM_H */
