// What plans of grouped products (common/device/group_plan.h) come to, for test/roofline/groups.py.
#include <algorithm>
#include <iterator>
#include <numeric>

#include "cache.h"
#include "common/device/group_plan.h"

namespace {

using namespace opswap;
using namespace opswap::roofline;

GroupPlan plan_of(const GroupShape &of, const int32_t *sizes) {
  const int64_t active = std::count_if(sizes, sizes + of.groups, [](int32_t n) { return n > 0; });
  int64_t least = INT64_MAX;
  GroupPlan best{};
  for (int i = 0; i < kProductTileCount; ++i) {
    int64_t row_tiles = 0;
    for (int g = 0; g < of.groups; ++g) row_tiles += product::up(sizes[g], group::tokens_of(kProductTiles[i]));
    const group::Cut cut =
        group::cut_with(i, of, {active, std::accumulate(sizes, sizes + of.groups, int64_t{0}), row_tiles});
    if (cut.time < least) least = cut.time, best = group::plan_with(i, cut, of, row_tiles);
  }
  return best;
}

// Where tile `number` of all groups lies: in each group bands of rows, in each of them rows before columns.
struct Lies {
  int64_t group, down, across;
};
Lies lies_at(const GroupPlan &plan, const int32_t *sizes, int64_t number) {
  const int64_t tokens = group::tokens_of(kProductTiles[plan.tile]);
  int64_t g = 0;
  for (;; ++g) {
    const int64_t own = product::up(sizes[g], tokens) * plan.across;
    if (number < own) break;
    number -= own;
  }
  const int64_t whole = int64_t(plan.band) * plan.across, first = number / whole * plan.band, left = number % whole;
  const int64_t height = std::min<int64_t>(product::up(sizes[g], tokens) - first, plan.band);
  return {g, first + left % height, left / height};
}

// All blocks go at one pace: step by step, and each of them then takes its next tile.
Moved moved(const GroupPlan &plan, const int32_t *sizes, int64_t blocks, int64_t l2_bytes) {
  const ProductTile &tile = kProductTiles[plan.tile];
  const int64_t tokens = group::tokens_of(tile), weights = group::weights_of(tile);
  Cache l2(l2_bytes);
  Moved sum;
  const auto load = [&](int64_t operand, int64_t group, int64_t panel, int64_t rows, int64_t step) {
    const int64_t bytes = rows * product::kStepBytes;
    sum.asked += bytes;
    if (!l2.holds(operand << 60 | group << 48 | panel << 24 | step, bytes)) sum.missed += bytes;
  };
  for (int64_t number = 0; number < plan.tiles; number += blocks)
    for (int64_t step = 0; step < plan.steps; ++step)
      for (int64_t one = number; one < std::min<int64_t>(plan.tiles, number + blocks); ++one) {
        const Lies at = lies_at(plan, sizes, one);
        load(0, at.group, at.down, std::min(tokens, sizes[at.group] - at.down * tokens), step);
        load(1, at.group, at.across, std::min(weights, plan.of.n - at.across * weights), step);
      }
  return sum;
}

}  // namespace

// Writes rows, columns and swap of the tile, steps, tiles, whole, blocks; the clocks of a step and those that a task
// costs beyond its steps, and those that an SM's share of cut tiles does; of an L2 that has bytes, those that are asked
// of it and of memory.
extern "C" void opswap_group_plan_of(int32_t card, int32_t groups, int32_t rows, int32_t n, int32_t k,
                                     int32_t element_bytes, const int32_t *sizes, int64_t l2_bytes, int64_t *found) {
  const ProductCard &of_card = kProductCards[card];
  const GroupShape of{0, groups, rows, n, k, element_bytes, 0, card, of_card.sms};
  const GroupPlan plan = plan_of(of, sizes);
  const ProductTile &tile = kProductTiles[plan.tile];
  const Moved bytes = !l2_bytes ? Moved{} : moved(plan, sizes, std::min<int64_t>(of_card.sms, plan.tiles), l2_bytes);
  const int64_t all[] = {tile.rows,   tile.columns, tile.swap,        plan.steps,         plan.tiles,
                         plan.whole,  plan.blocks,  plan.step_cycles, group::kTaskCycles, group::parts_cycles(tile),
                         bytes.asked, bytes.missed};
  std::copy(std::begin(all), std::end(all), found);
}
