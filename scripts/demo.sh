#!/usr/bin/env bash
# Run the demo on a layer of a real model, which is fetched once; where it cannot be had, the demo
# makes a layer of its own and says so.
#
#   demo.sh BUILD [ARGUMENT...]      further arguments go to fbq-demo
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
shift
model=()
if path=$(scripts/fetch_model.sh) && [[ -f $path ]]; then
    model=("$path")
fi
exec "$build/examples/demo/fbq-demo" "${model[@]}" "$@"
