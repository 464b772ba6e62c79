/* implementation.c: fbq's implementation, which packs and unpacks for fbq-import.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>
