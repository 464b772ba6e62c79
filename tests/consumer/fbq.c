/* The one implementation unit of a consumer that uses the headers alone.
 * SPDX-License-Identifier: Apache-2.0 */
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>
