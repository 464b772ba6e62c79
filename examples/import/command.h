/* command.h: the subcommands of fbq-import, and what they share.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_H
#define COMMAND_H

#include "checkpoint.h"
#include "options.h"
#include "packed_layer.h"

outcome command_list(const options *o);
outcome command_pack(const options *o);
outcome command_export(const options *o);

/* One line on standard error, and what the program is to end with. */
outcome command_failed(const char *what, const import_error *error);

/* "3/24 name" on standard error, over itself where that is a terminal; nothing with --quiet. */
void command_progress(const options *o, size_t index, size_t count, const char *name);
/* The line is over. */
void command_progress_end(const options *o);

/* What --layer leaves of `all`: pointers into it. IMPORT_ERR_MISSING for a --layer that none is
 * named by; *chosen is released with free, also then. */
import_status command_choose(const options *o, const layer_names *all, const char ***chosen,
                             size_t *count, import_error *error);

/* A checkpoint and what comes beside it. */
typedef struct command_input {
    checkpoint checkpoint;
    adapter_folder adapter; /* zeroed without --adapter */
} command_input;

import_status command_open(const options *o, command_input *in, import_error *error);
void command_close(command_input *in);

/* Read a layer and its sub-branch, if it has one: adapter->r is 0 where not.
 * IMPORT_ERR_MISSING when --adapter has none for it and --partial is not given. */
import_status command_read(const options *o, const command_input *in, const char *name,
                           gptq_layer *layer, peft_adapter *adapter, import_error *error);

#endif /* COMMAND_H */
