/* tests/simt/implementation.c: fbq's host code under the sanitizers that the tests are built with.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>
