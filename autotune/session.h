/* session.h: what tune and verify share: a tuner for a command line, and its end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SESSION_H
#define SESSION_H

#include "options.h"
#include "tuner.h"

/* Interrupted by a signal. */
extern volatile sig_atomic_t session_interrupted;

/* The path of the trial program, and signals caught: from now on interrupts do not end this
 * process, nor does a child's end. NULL after a message. */
const char *session_begin(const options *o);

/* Begin; spawn the trial program for this command line and lock the GPU. Not OUTCOME_DONE: after a
 * message; there is nothing to close. */
outcome session_open(const options *o, tuner *u);

/* Interrupted, or out of --budget. */
int session_over(const tuner *u);

#endif /* SESSION_H */
