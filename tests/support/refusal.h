/* tests/support/refusal.h: a call is refused with the right status and a text that helps.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_REFUSAL_H
#define FBQ_TESTS_REFUSAL_H

#include <string.h>

#include <fbq/fbq.h>

/* Include after cmocka.h. `call` uses a variable `error` that the macro makes; the remaining
 * arguments are what the detail text must say: the argument's name, its value, what was expected.
 */
#define assert_refused(want, call, ...)                                                        \
    do {                                                                                       \
        fbq_error error;                                                                       \
        memset(&error, 0, sizeof error);                                                       \
        refusal_check((call), (want), &error, (const char *const[]){__VA_ARGS__, NULL}, #call, \
                      __FILE__, __LINE__);                                                     \
    } while (0)

static inline void refusal_check(fbq_status got, fbq_status want, const fbq_error *error,
                                 const char *const *words, const char *call, const char *file,
                                 int line)
{
    if (got != want) {
        print_error("%s:%d: %s returned %d (%s: %s); expected %d\n", file, line, call, (int)got,
                    fbq_status_string(got), error->detail, (int)want);
        _fail(file, line);
    }
    if (error->status != want || strchr(error->detail, '\n') || strlen(error->detail) < 10) {
        print_error("%s:%d: %s: status %d in the error, detail \"%s\"\n", file, line, call,
                    (int)error->status, error->detail);
        _fail(file, line);
    }
    for (; *words; words++)
        if (!strstr(error->detail, *words)) {
            print_error("%s:%d: %s: \"%s\" does not say \"%s\"\n", file, line, call, error->detail,
                        *words);
            _fail(file, line);
        }
}

#endif
