/* implementation.c: fbq itself, for fbq-tune.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>
