// fbq/device/port.cuh: what device code needs of a language. It includes nothing, because NVRTC
// finds no standard header: the integer types, the qualifiers and the unroll hint live here.
//
// The same sources also compile as plain C++17 for the CPU (FBQ_SIMT; tests/simt/), where a block's
// threads run as fibres.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_PORT_CUH
#define FBQ_DEVICE_PORT_CUH

#ifdef FBQ_SIMT
#define FBQ_DEVICE inline
#define FBQ_UNROLL
#define FBQ_UNROLL_BY_2
#define FBQ_UNROLL_BY_4
#define FBQ_NO_UNROLL
#else
#define FBQ_DEVICE __device__ __forceinline__
#define FBQ_UNROLL _Pragma("unroll")
#define FBQ_UNROLL_BY_2 _Pragma("unroll 2")
#define FBQ_UNROLL_BY_4 _Pragma("unroll 4")
#define FBQ_NO_UNROLL _Pragma("unroll 1") // loops outside the stream, where registers matter more
#endif

// Names carry the version (version.h), so that two libraries with different fbq inside share a
// process.
#ifndef FBQ_NAMESPACE
#define FBQ_NAMESPACE v0_1
#endif

// Weights travel by bulk copies where the target has them, else by copies of 16 bytes a lane.
#ifndef FBQ_BULK_COPIES
#if __CUDA_ARCH__ >= 900
#define FBQ_BULK_COPIES 1
#else
#define FBQ_BULK_COPIES 0
#endif
#endif

// Shared memory of 227 KB a block goes with that, but for sm_120 and sm_121, which have 99.
#ifndef FBQ_LARGE_SHARED
#if __CUDA_ARCH__ >= 1200
#define FBQ_LARGE_SHARED 0
#else
#define FBQ_LARGE_SHARED FBQ_BULK_COPIES
#endif
#endif

// Plant a bug on purpose (tests/simt/ requires each to be caught): 0 none, 1 an index off by one,
// 2 a missing barrier, 3 an output that is not written.
#ifndef FBQ_PLANT
#define FBQ_PLANT 0
#endif

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

struct u32x2 {
    u32 x, y;
};

struct u32x4 {
    u32 x, y, z, w;
};

struct f32x4 {
    float x, y, z, w;
};

// A chunk's constants (types.h has them for the host).
constexpr int warp_lanes = 32;
constexpr int tile_rows = 16;   // FBQ_TILE
constexpr int chunk_codes = 64; // FBQ_CHUNK

FBQ_DEVICE int min_int(int a, int b)
{
    return a < b ? a : b;
}

FBQ_DEVICE constexpr int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
