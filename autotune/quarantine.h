/* quarantine.h: picks that broke a trial, kept beside the wisdom file so that no later tuning tries
 * them again.
 *
 * WISDOM.quarantine has one line for each: a word (died, hung or wrong), a record of the problem,
 * GPU, pick and device sources, and what happened. WISDOM.trying-GPU names the pick that is on
 * trial; where a tuning finds one, the tuning before it, or the machine, ended while that was
 * tried. Either file may be deleted while no tuning runs.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef QUARANTINE_H
#define QUARANTINE_H

#include <fbq/fbq.h>

typedef struct quarantine {
    char path[4200], trying[4200];
    int file;    /* of `trying` */
    int is_open; /* what `trying` held was read, and put where it belongs */
    char **line; /* keys */
    int count;
} quarantine;

/* Read what there is, and blame what was being tried. `gpu` tells this GPU from others, whose
 * tuning may go on at the same time; of its own this must be the only one. 0 with the reason in
 * `why`. `blamed` is NULL or called with a sentence about that. */
int quarantine_open(quarantine *q, const char *wisdom, const char *gpu,
                    void (*blamed)(const char *sentence), char *why, size_t bytes);

/* Is a pick there? Of the record count problem, GPU, epoch, pick and source. */
int quarantine_has(const quarantine *q, const fbq_record *record);

/* Before a pick is tried: it is on the disk when this returns. NULL: none is. Errors are left to
 * quarantine_add, since a machine that ends is rarer than a full disk. */
void quarantine_try(quarantine *q, const fbq_record *record);

/* Add one. 0 with the reason in `why` when it is not on the disk; it is known here nonetheless. */
int quarantine_add(quarantine *q, const fbq_record *record, const char *word, const char *reason,
                   char *why, size_t bytes);

/* At an orderly end. */
void quarantine_close(quarantine *q);

#endif /* QUARANTINE_H */
