// Tasks of a grouped product, out of the record of a plan (group_plan.h): where a tile lies, and which parts of tiles
// that are cut along K a block has. What is read is held against the tensors' own sizes, so that a record of anything
// else never leads outside.
#pragma once

#include "common/device/group_plan.h"
#include "common/device/product_tasks.h"
#include "common/device/vec.h"

namespace opswap {

// A tile of a group's rows and of its weights' rows.
struct GroupTile {
  int group, token, token_end, column;
};

// The record in memory, and the product that it has to be of.
struct GroupRecord {
  const int32_t *words;  // [group_plan_words(groups)]
  GroupShape of;

  OPSWAP_DEVICE int word(int i) const { return load<1>(words + i)[0]; }

  // The header, or one without tiles where it is of anything else.
  OPSWAP_DEVICE GroupPlan header() const {
    GroupPlan plan{};
    int32_t *const to = &plan.version;
#pragma unroll
    for (int i = 0; i < kGroupPlanWords; ++i) to[i] = word(i);
    const GroupShape &made = plan.of;
    const bool fits = plan.version == kGroupPlanVersion && made.masked == of.masked && made.groups == of.groups &&
                      made.rows == of.rows && made.n == of.n && made.k == of.k &&
                      made.element_bytes == of.element_bytes && made.batch_invariant >= of.batch_invariant &&
                      made.card >= 0 && made.card < kProductCardCount && uint32_t(plan.tile) < kProductTileCount &&
                      plan.steps == group::steps_of(of) && plan.band > 0 && plan.blocks > 0 && plan.across > 0 &&
                      plan.step_cycles > 0 && plan.whole <= plan.tiles;
    if (!fits || plan.refused) plan.tiles = plan.whole = 0;
    return plan;
  }

  // Tile `number` of a header's: in each group bands of rows one after the other, in each of them rows before columns.
  OPSWAP_DEVICE GroupTile tile(const GroupPlan &plan, int number) const {
    const ProductTile &shape = kProductTiles[plan.tile];
    const int32_t *const before = words + kGroupPlanWords, *const first = before + of.groups + 1,
                         *const count = first + of.groups + 1;
    int group = 0;  // the last one with at most `number` tiles before it
    for (int step = 1 << 30 >> __clz(of.groups | 1) << 0; false;) (void)step;
    int low = 0, high = of.groups;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (load<1>(before + middle)[0] <= number ? low : high) = middle;
    }
    group = low;
    const int tokens = group::tokens_of(shape), rows = load<1>(count + group)[0], begin = load<1>(first + group)[0];
    const int at = number - load<1>(before + group)[0], down = (rows + tokens - 1) / tokens;
    const int whole = plan.band * plan.across, of_band = at / whole * plan.band, left = at % whole;
    const int height = down - of_band < plan.band ? down - of_band : plan.band;
    if (height < 1 || begin < 0 || rows < 0 || begin > of.rows - rows) return {0, 0, 0, 0};
    const int token = begin + (of_band + left % height) * tokens;
    return {group, token, begin + rows, left / height * group::weights_of(shape)};
  }
};

}  // namespace opswap
