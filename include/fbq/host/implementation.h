/* fbq/host/implementation.h: the whole implementation, pulled in by FBQ_IMPLEMENTATION.
 *
 * Each room includes what it needs, so the order below is for the reader: from pure functions of
 * bytes to the ones that talk to a GPU.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_IMPLEMENTATION_H
#define FBQ_HOST_IMPLEMENTATION_H

#include "error.h"
#include "files.h"
#include "half.h"
#include "layout.h"
#include "pack.h"
#include "factors.h"
#include "reference.h"
#include "geometry.h"
#include "choose.h"
#include "select.h"
#include "wisdom_key.h"
#include "wisdom_record.h"
#include "shipped.h"
#include "wisdom.h"
#include "wisdom_file.h"
#include "jit.h"
#include "cubins.h"
#include "gpu.h"
#include "run.h"
#include "reconstruct.h"
#include "reconstruct_run.h"

#endif /* FBQ_HOST_IMPLEMENTATION_H */
