// What plans of matrix products (common/device/product_plan.h) come to, for test/roofline/plans.py: the plan itself,
// and what its tiles ask L2 and memory for.
#include <algorithm>
#include <iterator>

#include "cache.h"
#include "common/device/product_plan.h"

namespace {

using namespace opswap;
using namespace opswap::roofline;

struct Product {
  int64_t m, n, row_bytes, token_step_bytes;  // of K of a row, and of a step of a row of tokens with its scales
};

// All blocks go at one pace: step by step, and each of them then takes its next tile.
Moved moved(const ProductPlan &plan, const Product &p, int64_t l2_bytes) {
  const ProductTile &tile = kProductTiles[plan.tile];
  const int64_t first = tile.swap ? p.n : p.m, second = tile.swap ? p.m : p.n;
  const int64_t all = int64_t(plan.down) * plan.across;
  Cache l2(l2_bytes);
  Moved sum;
  const auto load = [&](int64_t operand, int64_t panel, int64_t rows, int64_t all_rows, int64_t step) {
    const bool tokens = (operand == 0) != tile.swap;
    const int64_t there = std::min(rows, all_rows - panel * rows), scale = p.token_step_bytes - product::kStepBytes;
    const int64_t width = std::min(product::kStepBytes, p.row_bytes - step * product::kStepBytes);
    const int64_t bytes = there * (width + (tokens ? scale : 0));
    sum.asked += bytes;
    if (!l2.holds((operand << 60) | panel << 30 | step, bytes)) sum.missed += bytes;
  };
  for (int64_t number = 0; number < all; number += plan.clusters)
    for (int k = 0; k < int(product::up(plan.steps, plan.split)); ++k)
      for (int64_t one = number; one < std::min(all, number + plan.clusters); ++one)
        for (int rank = 0; rank < plan.split; ++rank) {
          const int step = first_step(plan, rank) + k;
          if (step >= first_step(plan, rank + 1)) continue;
          const TileAt at = tile_at(plan, int(one));
          load(0, at.down, int64_t(tile.rows) * plan.pair, first, step);
          load(1, at.across, tile.columns, second, step);
        }
  return sum;
}

}  // namespace

// Writes rows, columns and swap of the tile, down, across, band, steps, split, pair, clusters; the clocks of a step,
// those that a task costs beyond its steps, and those in which a cluster puts its sums together; bytes that are asked
// of L2 and of memory, unless L2 has fewer than none.
extern "C" void opswap_plan_of(int64_t m, int64_t n, int64_t row_bytes, int64_t token_step_bytes, int64_t card,
                               int64_t widest, int64_t lowest, int64_t l2_bytes, int64_t *found) {
  const ProductCard &on = kProductCards[card];
  const ProductPlan plan = plan_product({m, n, row_bytes, int(widest), false, true, int(lowest)}, on);
  const ProductTile &tile = kProductTiles[plan.tile];
  const int64_t first = tile.swap ? n : m, second = tile.swap ? m : n;
  const int64_t loaded = std::min<int64_t>(first, tile.rows) + std::min<int64_t>(second, tile.columns) / plan.pair;
  const auto clocks = [&](int64_t steps, int64_t split) {
    return product::cycles(tile, loaded, 1, steps * split, split, 1 << 20, on.tensor_clocks);
  };
  const int64_t fixed = clocks(0, 1);
  const Moved bytes = l2_bytes < 0 ? Moved{} : moved(plan, {m, n, row_bytes, token_step_bytes}, l2_bytes);
  const int64_t all[] = {tile.rows,
                         tile.columns,
                         tile.swap,
                         plan.down,
                         plan.across,
                         plan.band,
                         plan.steps,
                         plan.split,
                         plan.pair,
                         plan.clusters,
                         clocks(1, 1) - fixed,
                         fixed,
                         clocks(0, plan.split) - fixed,
                         bytes.asked,
                         bytes.missed};
  std::copy(std::begin(all), std::end(all), found);
}
