/* trials.h: the program that tries picks on a GPU (fbq-trial), as a child that may die or hang.
 *
 * What tries picks must expect the worst of them: an illegal access makes a CUDA context useless, a
 * kernel may never end. So this process never opens CUDA; it spawns one that does, asks it one
 * thing at a time, gives it so long to answer, and spawns another when it is gone.
 *
 * Requests and answers are lines of text on the child's standard input and output:
 *
 *     gpu DEVICE SMS [FOLDER] what this child is to use: so many of the multiprocessors (or a few
 *                             more, where it cannot be that many; 0: all); FOLDER is for compiled
 *                             kernels
 *         ok capability=90 sms=132 shared_block=232448 shared_sm=233472 registers_sm=65536
 *            nvrtc=13000 driver=13000 uuid=GPU-... name=NVIDIA H200
 *     problem RECORD          layers of random weights, so many that they are cold; RECORD is
 *         ok                  a line as in a wisdom file, of whose pick only the kernel matters
 *     start                   what a program does to the end of its first launch: milliseconds
 *         ok OPEN PREPARE LAUNCH COMPILED             of each part, and programs compiled
 *     with PICK               the other kernel's pick, for all picks of the problem
 *         ok
 *     compile COUNT           and COUNT lines "NUMBER PICK": side by side, where cores are
 *         fit NUMBER          COUNT of these, or "unfit NUMBER SENTENCE"
 *         ok                  at their end
 *     check NUMBER            run it: is y right, is all that it must not write as it was?
 *         ok ERROR            ||y - ref|| / ||ref||
 *     time NUMBER             once, layer behind layer
 *         ok US               microseconds a layer
 *     floor                   the time of reading as many bytes
 *         ok US
 *     forget NUMBER           release a pick
 *         ok
 *
 * Anything may be answered with "no SENTENCE"; "check" also with "wrong SENTENCE", where the pick
 * is at fault. A child that can go on no more says "broken SENTENCE" where the pick in hand is at
 * fault, else "spoiled SENTENCE". It ends at the end of its input, or when the parent does.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TRIALS_H
#define TRIALS_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

typedef enum answer {
    ANSWER_OK,
    ANSWER_NO,     /* it cannot be done, for no fault of a pick */
    ANSWER_WRONG,  /* a pick computes what is wrong */
    ANSWER_DIED,   /* it ended, or said what makes no sense: there is no child any more */
    ANSWER_HUNG,   /* it did not answer in time, and was killed */
    ANSWER_STOPPED /* *stop was set while it was waited for; it was killed */
} answer;

typedef struct trials {
    const char *program; /* a path */
    const volatile sig_atomic_t *stop;
    pid_t child; /* 0: none */
    int to, from;
    char got[1 << 14]; /* read, not yet used */
    size_t used;
    char text[1024]; /* the last answer behind "ok" or "no", or why there is none */
} trials;

/* Seconds of a clock that nobody sets. */
double trials_now(void);

/* Spawn a child, unless there is one. 0 with the reason in t->text. SIGPIPE must be ignored:
 * writing to a child that is gone is no reason to end. */
int trials_start(trials *t);

/* One request, without its newline, and its answer in t->text; up to so many seconds. Lines of the
 * answer before its last go to `each`, which may be NULL when none is expected. */
answer trials_ask(trials *t, double seconds, void (*each)(void *user, const char *line), void *user,
                  const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 5, 6)))
#endif
    ;

/* End the child: at once, whatever it does. */
void trials_end(trials *t);

#endif /* TRIALS_H */
