/* fbq/host/choose.h: how a default pick of fused cuts K and the tiles: step, warps, stages, tiles.
 * Rules that were measured on an H200 (docs/kernels.md), the code of sm_80 to sm_89 there as well.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_CHOOSE_H
#define FBQ_HOST_CHOOSE_H

#include "geometry.h"

/* One row of x in one kernel, without a sub-branch or with t made in it: what most of these rules
 * are for. */
static inline int fbq__one_kernel(const fbq_layout *l, const fbq_pick *pick, int64_t m)
{
    return m == 1 && fbq__branch(l, pick) != 1;
}

/* Tiles of a block. */
static inline int64_t fbq__own(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick)
{
    const int64_t stride = fbq__tile_stride(l, gpu, pick);
    return (l->tiles + stride - 1) / stride;
}

/* The most warps. What they ask for before sm_90 is in the way of a sub-branch in the same launch:
 * the fewer tiles, the fewer of them. */
static inline int fbq__most_warps(const fbq_layout *l, const fbq_gpu *gpu, int64_t m,
                                  const fbq_pick *pick)
{
    const int64_t units = fbq__units(l), own = fbq__own(l, gpu, pick);
    if (m > 1 || gpu->capability >= 90 || !fbq__whole(l, pick) || units <= 16)
        return 16;
    if (units <= 32)
        return own <= 2 ? 4 : 8;
    return units <= 64 && own <= 8 ? 8 : 16;
}

/* The longest step, in units. About 70 KB a multiprocessor on their way are best: two stages of two
 * units for each of 16 warps. The sub-branch in one launch wants shorter ones where it is most of
 * the layer, and a long one where that is all a warp has of a tile. */
static inline int64_t fbq__longest_step(const fbq_layout *l, const fbq_gpu *gpu, int64_t m,
                                        const fbq_pick *pick)
{
    if (!fbq__one_kernel(l, pick, m))
        return 3;
    if (l->format.bits == 2 && fbq__units(l) > 32) /* as many bytes as two units of 4 bits */
        return 4;
    if (!fbq__whole(l, pick))
        return 2;
    if (gpu->capability < 90)
        return 16 / fbq__most_warps(l, gpu, m, pick);
    if (fbq__units(l) <= 16)
        return 1;
    return fbq__share(l, pick) == 3 && pick->tiles == 1 ? 4 : 2;
}

/* Where K is whole steps, as few warps as have no longer a run of them each. In one launch all,
 * where that is one step; but half of them where the step is one unit. */
static inline void fbq__choose_warps(const fbq_layout *l, int64_t m, fbq_pick *pick)
{
    const int64_t step = fbq__part_units(pick), steps = (fbq__units(l) + step - 1) / step;
    int64_t run = (steps + pick->warps - 1) / pick->warps;
    if (!fbq__one_kernel(l, pick, m) || fbq__splits(pick) > 1 || l->chunks % pick->chunks)
        return;
    if (fbq__whole(l, pick) && run == 1 && step == 2)
        return;
    if (fbq__whole(l, pick) && run == 1 && step == 1)
        run = 2;
    pick->warps = (int)((steps + run - 1) / run);
}

/* Choose the step, the warps and the stages of a pick that has its tiles and the most warps: with
 * several rows or behind down steps as even as they come out; two stages, or three of few warps;
 * where shared memory does not suffice for two units, four stages of one. */
static inline int fbq__choose_steps(const fbq_layout *l, const fbq_gpu *gpu, int64_t m,
                                    fbq_pick *pick)
{
    const int64_t share = fbq__share(l, pick), most = fbq__longest_step(l, gpu, m, pick);
    const int64_t parts = (share + most - 1) / most;
    const int early = gpu->capability < 90 && fbq__whole(l, pick) && m == 1;
    pick->stages = early && most == 1 ? 3 : 2;
    pick->chunks = (int)(2 * (fbq__one_kernel(l, pick, m) ? most : (share + parts - 1) / parts));
    if (pick->chunks > 2 * fbq__units(l))
        pick->chunks = (int)(2 * fbq__units(l));
    while (pick->chunks > 2 && !fbq__fused_fits(l, gpu, pick, m))
        pick->chunks -= 2;
    fbq__choose_warps(l, m, pick);
    if (pick->chunks == 2)
        for (pick->stages = early ? 3 : 4; pick->stages > 2 && !fbq__fused_fits(l, gpu, pick, m);
             pick->stages--)
            ;
    else if (fbq__one_kernel(l, pick, m) && !fbq__whole(l, pick) &&
             pick->warps * pick->blocks_per_sm <= 11 && fbq__parts(l, pick) > 1) {
        pick->stages = 3;
        pick->stages -= !fbq__fused_fits(l, gpu, pick, m);
    }
    return fbq__fused_fits(l, gpu, pick, m);
}

/* The most tiles of a block that are taken in groups though all of x would fit. Before sm_90 every
 * tile more costs registers, since all lanes copy. */
static inline int64_t fbq__few(const fbq_layout *l, const fbq_gpu *gpu, int64_t m,
                               const fbq_pick *pick)
{
    const int64_t share = fbq__share(l, pick);
    if (m > 1 || gpu->capability < 90)
        return 1;
    if (l->format.bits == 2 && (share <= 2 || fbq__own(l, gpu, pick) <= 7))
        return l->tiles;
    if (fbq__whole(l, pick))
        return share >= 4 && share <= 8 && fbq__own(l, gpu, pick) <= 4 ? 1 : 6;
    if (l->rank_tiles)
        return 7;
    return share <= 2 ? l->tiles : share == 4 ? 3 : 7;
}

/* Several rows without a sub-branch, two tiles a block and two units for each of 16 warps: steps of
 * one unit, so that two launches fit side by side. Most of such a layer's time is getting started.
 */
static inline int fbq__narrow(const fbq_layout *l, const fbq_gpu *gpu, int64_t m, fbq_pick *pick)
{
    if (l->rank_tiles || gpu->capability < 90 || pick->warps < 16 || fbq__share(l, pick) != 2)
        return 0;
    pick->tiles = (int)fbq__own(l, gpu, pick);
    pick->chunks = pick->stages = 2;
    return fbq__fused_fits(l, gpu, pick, m);
}

/* More than eight rows with a sub-branch, two units for each of 16 warps: a tile at a time in two
 * steps of one unit, where x stays beside that. Longer steps leave room for eight warps only. */
static inline int fbq__short_steps(const fbq_layout *l, const fbq_gpu *gpu, int64_t m,
                                   fbq_pick *pick)
{
    if (gpu->capability < 90 || pick->warps < 16 || fbq__share(l, pick) != 2 ||
        fbq__own(l, gpu, pick) < 2)
        return 0;
    pick->tiles = 1;
    pick->chunks = pick->stages = 2;
    return fbq__fused_fits(l, gpu, pick, m) && fbq__resident(l, gpu, pick, m);
}

/* One tile at a time, by so many warps at most: if a block has more than a few tiles and all of x
 * fits beside a step of two units. */
static inline int fbq__one_by_one(const fbq_layout *l, const fbq_gpu *gpu, int64_t m, int warps,
                                  fbq_pick *pick)
{
    pick->warps = warps;
    pick->tiles = 1;
    return fbq__own(l, gpu, pick) > fbq__few(l, gpu, m, pick) &&
           fbq__choose_steps(l, gpu, m, pick) && fbq__resident(l, gpu, pick, m) &&
           (pick->chunks > 2 || fbq__units(l) <= 16);
}

/* Choose tiles, steps, warps and stages of a pick that has everything else, and the most warps: one
 * tile at a time, in short steps or by fewer warps where x of many rows leaves less room for rings;
 * else all that a block has, in even groups. */
static inline void fbq__choose(const fbq_layout *l, const fbq_gpu *gpu, int64_t m, fbq_pick *pick)
{
    const int64_t own = fbq__own(l, gpu, pick);
    const int64_t most = gpu->capability < 90 ? 1 : m > 1 ? 4 : 7;
    const int64_t groups = (own + most - 1) / most;
    const int few = fbq__most_warps(l, gpu, m, pick), warps = few < pick->warps ? few : pick->warps;
    pick->warps = warps;
    if (m > 1 && own <= 2 && fbq__narrow(l, gpu, m, pick))
        return;
    if (m > 8 && l->rank_tiles && warps > 8 &&
        (fbq__short_steps(l, gpu, m, pick) || fbq__one_by_one(l, gpu, m, 8, pick)))
        return;
    if (fbq__one_by_one(l, gpu, m, warps, pick))
        return;
    pick->warps = warps;
    pick->tiles = (int)((own + groups - 1) / groups);
    while (!fbq__choose_steps(l, gpu, m, pick) && pick->tiles > 1) {
        pick->warps = warps;
        pick->tiles = (pick->tiles + 1) / 2;
    }
}

#endif /* FBQ_HOST_CHOOSE_H */
