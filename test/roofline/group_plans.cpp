// What plans of grouped products (common/device/group_plan.h) come to, for test/roofline/groups.py.
#include <algorithm>
#include <iterator>

#include "common/device/group_plan.h"

namespace {

using namespace opswap;

struct Best {
  int tile;
  group::Cut cut;
  int64_t row_tiles;
};

Best best_of(const GroupShape &of, const int32_t *sizes) {
  const int64_t active = std::count_if(sizes, sizes + of.groups, [](int32_t n) { return n > 0; });
  Best best{-1, {INT64_MAX, 0, 0}, 0};
  for (int i = 0; i < kProductTileCount; ++i) {
    int64_t row_tiles = 0;
    for (int g = 0; g < of.groups; ++g) row_tiles += product::up(sizes[g], group::tokens_of(kProductTiles[i]));
    const group::Cut cut = group::cut_with(i, of, row_tiles, active);
    if (cut.time < best.cut.time) best = {i, cut, row_tiles};
  }
  return best;
}

}  // namespace

// Writes rows, columns and swap of the tile, steps, tiles, whole, blocks; the clocks of a step and those that a task
// costs beyond its steps.
extern "C" void opswap_group_plan_of(int32_t card, int32_t groups, int32_t rows, int32_t n, int32_t k,
                                     int32_t element_bytes, const int32_t *sizes, int64_t *found) {
  const ProductCard &of_card = kProductCards[card];
  const GroupShape of{0, groups, rows, n, k, element_bytes, 0, card, of_card.sms};
  const Best best = best_of(of, sizes);
  const ProductTile &tile = kProductTiles[best.tile];
  const int64_t active = std::count_if(sizes, sizes + groups, [](int32_t m) { return m > 0; });
  const GroupPlan plan = group::plan_with(best.tile, best.cut, of, best.row_tiles);
  const int64_t step = group::step_cycles(tile, of_card, best.row_tiles, active);
  const int64_t all[] = {tile.rows,  tile.columns, tile.swap, plan.steps,        plan.tiles,
                         plan.whole, plan.blocks,  step,      group::kTaskCycles};
  std::copy(std::begin(all), std::end(all), found);
}
