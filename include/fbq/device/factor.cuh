// fbq/device/factor.cuh: blocks of A and B into tensor-core operands.
//
// A block is 16 x 16 numbers, a vector a lane, in the order in which the tensor core wants them:
// fp16 and bf16 numbers as they stand, 16 bytes a lane; int8 numbers as bytes q + 128, 8 bytes a
// lane, with a scale a row that is multiplied into fp32 sums. As fp16 or bf16 numbers they are
// exact.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_FACTOR_CUH
#define FBQ_DEVICE_FACTOR_CUH

#include "numbers.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// A lane's vector of a block.
template <int Factor>
struct BlockPart {
    typedef u32x4 vector;
};
template <>
struct BlockPart<type_i8> {
    typedef u32x2 vector;
};

FBQ_DEVICE constexpr int block_bytes_of(int factor)
{
    return 16 * 16 * (factor == type_i8 ? 1 : 2);
}

FBQ_DEVICE void part_lds(u32x4 &v, saddr block, int lane)
{
    v = lds_u32x4(block + (u32)lane * 16);
}
FBQ_DEVICE void part_lds(u32x2 &v, saddr block, int lane)
{
    v = lds_u32x2(block + (u32)lane * 8);
}
FBQ_DEVICE void part_ldg(u32x4 &v, const u8 *block, int lane)
{
    v = ldg_stream_u32x4(block + lane * 16);
}
FBQ_DEVICE void part_ldg(u32x2 &v, const u8 *block, int lane)
{
    v = ldg_u32x2(block + lane * 8);
}

// Two of four bytes q + 128 as numbers q.
template <int X, u32 SELECT>
FBQ_DEVICE u32 pair_of_bytes(u32 bytes)
{
    if (X == type_f16) // 1024 + q + 128, less 1152
        return add_f16x2(permute_bytes<SELECT>(bytes, 0x64646464u), 0xe480e480u);
    // A bf16 number has room for seven bits: 128 + those, less 128, or 256 where q is negative.
    const u32 v = permute_bytes<SELECT>(bytes, 0x43434343u);
    return add_bf16x2(and_or<0xff7fff7fu, 0>(v), and_xor<0xff80ff80u, 0x80808080u>(v));
}

template <int X>
FBQ_DEVICE u32x4 operand_of_bytes(const u32x2 &v)
{
    return u32x4{pair_of_bytes<X, 0x4140>(v.x), pair_of_bytes<X, 0x4342>(v.x),
                 pair_of_bytes<X, 0x4140>(v.y), pair_of_bytes<X, 0x4342>(v.y)};
}

// c += block . b, where b has type X.
template <int Factor, int X>
FBQ_DEVICE void mma_block(float (&c)[4], const u32x4 &block, u32 b0, u32 b1)
{
    mma_mixed<Factor, X>(c, block, b0, b1);
}
template <int Factor, int X>
FBQ_DEVICE void mma_block(float (&c)[4], const u32x2 &block, u32 b0, u32 b1)
{
    mma<X>(c, operand_of_bytes<X>(block), b0, b1);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
