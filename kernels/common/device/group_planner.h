// The kernel that makes a plan of a grouped product: one block, of which each thread counts some groups. The numbers
// are those of group_plan.h, so its record is the CPU's word for word.
#pragma once

#include <bit>

#include "common/device/access.h"
#include "common/device/group_plan.h"
#include "common/device/sum_before.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kPlanThreads = 512, kPlanWarps = kPlanThreads / kWarp;

// What the block counts: row tiles of each kind, groups that have rows, these rows, and groups that do not fit.
constexpr int kActive = kProductTileCount, kRowCount = kActive + 1, kUnfit = kRowCount + 1, kCounted = kUnfit + 1;
struct Planning {
  int32_t of_warp[kPlanWarps][kCounted], counted[kCounted];
  group::Cut cuts[kProductTileCount];
  int32_t sums[kPlanWarps];
  int32_t tile;
};

template <class T>
OPSWAP_DEVICE T warp_sum(T x) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
  return x;
}

// The rows of group g, none where offsets or counts do not fit.
OPSWAP_DEVICE GroupRows read_rows(const GroupShape &of, const int32_t *index, int g, bool &fits) {
  const int own = load<1>(index + g)[0], next = of.masked ? 0 : load<1>(index + g + 1)[0];
  fits = group_fits(of, own, next);
  return fits ? group_rows(of, g, own, next) : GroupRows{0, 0};
}

// s.counted, for all threads.
OPSWAP_DEVICE void count_groups(Planning &s, const GroupShape &of, const int32_t *index) {
  const int thread = int(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  int32_t counts[kCounted] = {};
  for (int g = thread; g < of.groups; g += kPlanThreads) {
    bool fits;
    const GroupRows rows = read_rows(of, index, g, fits);
#pragma unroll
    for (int i = 0; i < kProductTileCount; ++i)
      counts[i] += int32_t(product::up(rows.count, group::tokens_of(group::tile_number(i))));
    counts[kActive] += rows.count > 0, counts[kRowCount] += rows.count, counts[kUnfit] += !fits;
  }
#pragma unroll
  for (int i = 0; i < kCounted; ++i) {
    const int32_t sum = warp_sum(counts[i]);
    if (lane == 0) store_shared(&s.of_warp[warp][i], Vec<int32_t, 1>{sum});
  }
  __syncthreads();
  if (thread < kCounted) {
    int32_t sum = 0;
    for (int w = 0; w < kPlanWarps; ++w) sum += load_shared<1>(&s.of_warp[w][thread])[0];
    store_shared(&s.counted[thread], Vec<int32_t, 1>{sum});
  }
  __syncthreads();
}

// The header, in all threads: of equal times the first tile.
OPSWAP_DEVICE GroupPlan choose(Planning &s, const GroupShape &of) {
  const int thread = int(threadIdx.x);
  const auto counted = [&](int i) { return load_shared<1>(&s.counted[i])[0]; };
  if (counted(kUnfit)) return group::refused_plan(of);
  if (thread < kProductTileCount)
    s.cuts[thread] = group::cut_with(thread, of, {counted(kActive), counted(kRowCount), counted(thread)});
  __syncthreads();
  int best = 0;
  for (int i = 1; i < kProductTileCount; ++i)
    if (s.cuts[i].time < s.cuts[best].time) best = i;
  return group::plan_with(best, s.cuts[best], of, counted(best));
}

__global__ void __launch_bounds__(kPlanThreads)
    plan_groups_kernel(int32_t *words,        // [group_plan_words(groups)]
                       const int32_t *index,  // offsets [groups + 1] or counts [groups]
                       GroupShape of) {
  OPSWAP_SHARED(Planning, s);
  dependency_wait();
  dependency_trigger();
  count_groups(s, of, index);
  const GroupPlan plan = choose(s, of);
  const int thread = int(threadIdx.x), groups = of.groups;
  if (thread == 0) {
    const auto header = std::bit_cast<Vec<int32_t, kGroupPlanWords>>(plan);
#pragma unroll
    for (int i = 0; i < kGroupPlanWords; ++i) store(words + i, Vec<int32_t, 1>{header[i]});
  }
  int32_t *const before = words + kGroupPlanWords, *const first = before + groups + 1,
                 *const count = first + groups + 1;
  const int tokens = group::tokens_of(group::tile_number(plan.tile));
  int tiles = 0;
  for (int begin = 0; begin <= groups; begin += kPlanThreads) {
    const int g = begin + thread;
    bool fits = false;
    const GroupRows rows = g < groups && !plan.refused ? read_rows(of, index, g, fits) : GroupRows{0, 0};
    int total;
    const int own = int(product::up(rows.count, tokens)) * plan.across,
              at = tiles + sum_before(s.sums, thread, kPlanWarps, own, total);
    if (g <= groups) {
      store(before + g, Vec<int32_t, 1>{at});
      store(first + g, Vec<int32_t, 1>{rows.first}), store(count + g, Vec<int32_t, 1>{rows.count});
    }
    tiles += total;
  }
}

inline opswap_status launch_planner(const opswap_exec &exec, int32_t *words, const int32_t *index, GroupShape of) {
  return launch(exec, "plan_groups_kernel", plan_groups_kernel, {.grid = {1}, .block = {kPlanThreads}, .pdl = true},
                words, index, of);
}

}  // namespace opswap::OPSWAP_PASS
