// Tasks of a grouped product, out of the record of a plan (group_plan.h): where a tile lies, and which parts of tiles
// that are cut along K a block has. What is read is held against the tensors' own sizes, so that a record of anything
// else never leads outside.
#pragma once

#include "common/device/group_plan.h"
#include "common/device/product_tasks.h"
#include "common/device/vec.h"

namespace opswap {

// The record in memory, and the product that it has to be of; `of.sms` is the most blocks that it may have shares for.
struct GroupRecord {
  const int32_t *words;  // [group_plan_words(groups)]
  GroupShape of;

  OPSWAP_DEVICE int word(int i) const { return load<1>(words + i)[0]; }
  OPSWAP_DEVICE int before(int g) const { return word(kGroupPlanWords + g); }
  OPSWAP_DEVICE int first(int g) const { return word(kGroupPlanWords + of.groups + 1 + g); }
  OPSWAP_DEVICE int count(int g) const { return word(kGroupPlanWords + 2 * (of.groups + 1) + g); }

  // The header, or one without tiles where it is of anything else.
  OPSWAP_DEVICE GroupPlan header() const {
    GroupPlan plan{};
    plan.version = word(0);
    plan.of = {word(1), word(2), word(3), word(4), word(5), word(6), word(7), word(8), word(9)};
    plan.refused = word(10), plan.tile = word(11), plan.steps = word(12), plan.across = word(13);
    plan.band = word(14), plan.tiles = word(15), plan.whole = word(16), plan.blocks = word(17);
    plan.step_cycles = word(18);
    const GroupShape &made = plan.of;
    const bool same = plan.version == kGroupPlanVersion && !plan.refused && made.masked == of.masked &&
                      made.groups == of.groups && made.rows == of.rows && made.n == of.n && made.k == of.k &&
                      made.element_bytes == of.element_bytes && made.batch_invariant >= of.batch_invariant;
    const bool sound = uint32_t(plan.tile) < uint32_t(kProductTileCount) && plan.steps == group::steps_of(of) &&
                       plan.across == product::up(of.n, group::weights_of(group::tile_number(plan.tile))) &&
                       plan.band > 0 && plan.blocks > 0 && plan.blocks <= of.sms && plan.step_cycles > 0 &&
                       plan.whole >= 0 && plan.whole <= plan.tiles;
    if (!same || !sound) plan.tiles = plan.whole = 0;
    return plan;
  }

  // Tile `number` of those of a header, all of its steps: in each group bands of rows one after the other, in each of
  // them rows before columns. Without rows where the record does not fit.
  OPSWAP_DEVICE ProductTask tile(const GroupPlan &plan, int number) const {
    int g = 0, end = of.groups;  // the last group with at most `number` tiles before it
    while (end - g > 1) {
      const int middle = (g + end) / 2;
      (before(middle) <= number ? g : end) = middle;
    }
    const ProductTile shape = group::tile_number(plan.tile);
    const int tokens = group::tokens_of(shape), begin = first(g), rows = count(g), at = number - before(g);
    if (rows < 1 || rows > of.rows || begin < 0 || begin > of.rows - rows) return {0, 0, 0, 0, 0, 0, 0, kNoTile};
    const int down = (rows + tokens - 1) / tokens, band = plan.band < down ? plan.band : down;
    if (at < 0 || at >= down * plan.across) return {0, 0, 0, 0, 0, 0, 0, kNoTile};
    const int of_band = at / (band * plan.across) * band, left = at % (band * plan.across);
    const int height = down - of_band < band ? down - of_band : band;
    const int token = begin + (of_band + left % height) * tokens, column = left / height * group::weights_of(shape);
    return {token, begin + rows, column, g * of.n + column, g, 0, plan.steps};
  }
};

// Where the sums of part `number` are kept.
template <class Memory, class F>
OPSWAP_DEVICE F *part_of(F *parts, int number) {
  return parts + int64_t(number) * Memory::kRows * Memory::kColumns;
}

// A block's tasks: whole tiles, as many apart as there are blocks, then its shares of the tiles that are cut.
template <class Memory>
struct GroupTasks {
  static constexpr bool kEarly = false, kParts = true;
  const GroupRecord &record;
  const GroupPlan &plan;
  float *parts;  // [2 * blocks][kRows * kColumns]

  OPSWAP_DEVICE int first() const { return 0; }
  OPSWAP_DEVICE int step() const { return 1; }
  OPSWAP_DEVICE int split() const { return 1; }
  OPSWAP_DEVICE int pair() const { return 1; }
  OPSWAP_DEVICE int end() const { return whole() + (plan.tiles > plan.whole ? every(plan.blocks) * kShareTiles : 0); }
  OPSWAP_DEVICE ProductTask at(int number) const {
    const int own = number - whole();
    if (own < 0) return record.tile(plan, int(blockIdx.x) + number * int(gridDim.x));
    const int share = int(blockIdx.x) + own / kShareTiles * int(gridDim.x);
    const int64_t from = share_begin(plan, share), to = share_begin(plan, share + 1);
    const int64_t tile = from / plan.steps + own % kShareTiles, start = tile * plan.steps;
    const int64_t begin = from > start ? from : start, end = to < start + plan.steps ? to : start + plan.steps;
    if (begin >= end) return {0, 0, 0, 0, 0, 0, 0, kNoTile};
    ProductTask task = record.tile(plan, plan.whole + int(tile));
    if (task.part == kNoTile || end - begin == plan.steps) return task;
    task.begin = int(begin - start), task.end = int(end - start);
    task.part = 2 * share + (task.begin == 0);
    return task;
  }
  // Sums of a part, as the threads hold them: the kernel that adds parts up holds them alike.
  OPSWAP_DEVICE void keep(const float (&sums)[Memory::kHeld], const ProductTask &task, int thread) const {
    float *const to = part_of<Memory>(parts, task.part) + thread * 4;
#pragma unroll
    for (int i = 0; i < Memory::kHeld; i += 4)
      store(to + i * kThreads, Vec<float, 4>{sums[i], sums[i + 1], sums[i + 2], sums[i + 3]});
  }

 private:
  static constexpr int kThreads = 2 * device::kWarpgroup;
  // How many of `n` are this block's.
  static OPSWAP_DEVICE int every(int n) {
    const int left = n - int(blockIdx.x);
    return left > 0 ? (left - 1) / int(gridDim.x) + 1 : 0;
  }
  OPSWAP_DEVICE int whole() const { return every(plan.whole); }
};

}  // namespace opswap
