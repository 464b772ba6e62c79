/* show.c: the records of a file, as a table or as JSON.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "records.h"

static void print_row(const fbq_record *record)
{
    static const char *const rigors[] = {"?", "estimate", "measure", "patient"};
    char format[64], shape[128], pick[256], time[32] = "not run";
    record_format(record, format, sizeof format);
    record_shape(record, shape, sizeof shape);
    fbq_pick_print(&record->pick, pick, sizeof pick);
    if (record->median_ns)
        snprintf(time, sizeof time, "%.2f +- %.2f us", 1e-3 * (double)record->median_ns,
                 0.5e-3 * (double)record->spread_ns);
    printf("%s, %d SMs | %s | %s | m %d, launches %d | %s | %s, %s%s | %s\n", record->gpu.name,
           record->gpu.sms, format, shape, record->problem.m_max, record->problem.launches, time,
           rigors[record->rigor], record->date,
           record->epoch == FBQ_KERNEL_EPOCH ? "" : ", of another epoch: not used", pick);
}

outcome command_show(const options *o)
{
    fbq_wisdom *wisdom = records_read(o, o->file);
    json_t *list = o->json ? json_array() : NULL;
    size_t shown = 0;
    if (!wisdom)
        return OUTCOME_FAILED;
    for (size_t i = 0; i < fbq_wisdom_count(wisdom); i++) {
        const fbq_record *record = fbq_wisdom_record(wisdom, i);
        if (!record_wanted(record, o))
            continue;
        shown++;
        if (list)
            json_array_append_new(list, record_to_json(record));
        else
            print_row(record);
    }
    fprintf(stderr, "fbq-tune: %zu of %zu records of %s\n", shown, fbq_wisdom_count(wisdom),
            o->file);
    if (fbq_wisdom_damaged(wisdom))
        fprintf(stderr, "fbq-tune: %zu lines cannot be read; the first: %s\n",
                fbq_wisdom_damaged(wisdom), fbq_wisdom_warning(wisdom));
    fbq_wisdom_free(wisdom);
    return list ? json_print(o, list) : OUTCOME_DONE;
}
