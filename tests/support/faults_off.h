/* tests/support/faults_off.h: the test's own calls are the system's again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_FAULTS_OFF_H
#define FBQ_TESTS_FAULTS_OFF_H

#undef open
#undef read
#undef write
#undef fsync
#undef flock
#undef mkdir
#undef rename
#undef unlink
#undef close

#endif
