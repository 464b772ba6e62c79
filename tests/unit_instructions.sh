#!/usr/bin/env bash
# scripts/instructions on listings of a made-up cuobjdump, counted by hand.
#
#   unit_instructions.sh SOURCE
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
script=$1/scripts/instructions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 checks=0

# "-sass FILE": the file's lines as instructions, 16 bytes each.
cat >"$work/cuobjdump" <<'PROGRAM'
#!/bin/sh
[ -s "$2" ] || { echo "cuobjdump info    : no device code"; exit 0; }
printf '\n\tcode for sm_90\n\t\tFunction : fbq_fused\n'
awk '{ printf "        /*%04x*/                   %s ;      /* 0x0000000000000000 */\n", 16 * (NR - 1), $0
       printf "                                                  /* 0x0000000000000000 */\n" }' "$2"
PROGRAM
chmod +x "$work/cuobjdump"

# expect WHAT STATUS TEXT ARGUMENT...
expect() {
    local what=$1 status=$2 text=$3 output result
    shift 3
    checks=$((checks + 1))
    output=$("$script" "$@" 2>&1)
    result=$?
    if [[ $result != "$status" || $output != *"$text"* ]]; then
        failures=$((failures + 1))
        printf 'FAILED: %s: exit %s, expected %s and "%s" in\n%s\n' "$what" "$result" "$status" \
            "$text" "$output"
    fi
}

unpack() { # unpack HOW_MANY: four masks a tensor instruction
    local i
    for ((i = 0; i < $1; i++)); do
        printf 'LOP3.LUT R4, R8, 0xf0f0f0f, R9, 0x6a, !PT\nLOP3.LUT R5, R8, 0xf0f0f0f0, R9, 0x6a, !PT\n'
        printf 'LOP3.LUT R6, R9, 0xf0f0f0f, R9, 0x6a, !PT\nLOP3.LUT R7, R9, 0xf0f0f0f0, R9, 0x6a, !PT\n'
        printf 'IMMA.16832.U8.S8 R12, R4.ROW, R10.COL, R12\n'
    done
}

# A loop of 26 from 0x10 on: two make x ready, a way around, the block of 22, a way out and back.
{
    printf 'S2R R0, SR_TID.X\nIMMA.16832.U8.S8 R12, R4.ROW, R10.COL, RZ\n@P0 BRA 0x190\n'
    unpack 4
    printf 'SHF.R.U32.HI R2, RZ, 0x4, R3\n@!P1 BRA 0x190\n@P2 CALL.REL.NOINC 0x1b0\nBRA 0x10\nEXIT\n'
} >"$work/one.cubin"
expect "a loop" 0 "| one | 2048 | 22 | 17 | 4 | 0.344 | 0.266 | 0.0625 | 26, 2048 |" \
    --cuobjdump "$work/cuobjdump" "$work/one.cubin"
{
    unpack 1
    printf 'IMMA.16832.U8.S8 R12, R4.ROW, R10.COL, RZ\nEXIT\n'
} >"$work/both.cubin"
expect "x made ready in it" 0 "| both* | 512 | 7 | 4 | 2 | 0.438 | 0.25 | 0.125 | – |" \
    --cuobjdump "$work/cuobjdump" "$work/both.cubin"
{
    unpack 1
    printf 'LOP3.LUT R4, R8, 0xf0f0f0f, R9, 0x6a, !PT\nEXIT\n'
} >"$work/odd.cubin"
expect "too much unpacked" 1 "it unpacks 640 weights and multiplies 512" \
    --cuobjdump "$work/cuobjdump" "$work/odd.cubin"
printf 'EXIT\n' >"$work/other.cubin"
expect "another kernel" 1 "no block in it unpacks codes" \
    --cuobjdump "$work/cuobjdump" "$work/other.cubin"
: >"$work/empty.cubin"
expect "no code" 1 "no device code" --cuobjdump "$work/cuobjdump" "$work/empty.cubin"
expect "no file" 1 "none.cubin: no such file" --cuobjdump "$work/cuobjdump" "$work/none.cubin"
expect "no cuobjdump" 1 "is missing" --cuobjdump "$work/none" "$work/one.cubin"

printf '%d checks, %d failed\n' "$checks" "$failures"
((failures == 0))
