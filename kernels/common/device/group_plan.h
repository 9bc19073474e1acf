// How a grouped product is cut into tiles for the SMs of a card: rows of groups, each group with weights [N, K] of its
// own. Plain integers, so that the kernel that makes a plan and the CPU write the same words. The record is described
// in kernels/grouped_gemm_plan/README.md.
#pragma once

#include "common/device/product_card.h"
#include "common/device/product_plan.h"

namespace opswap {

// What a plan is of, and for which card: known before any row is counted.
struct GroupShape {
  int32_t masked, groups, rows, n, k, element_bytes, batch_invariant, card, sms;
};

// The record's first words; behind it for each group, and once more, the tiles before it, then its first row, then how
// many it has.
struct GroupPlan {
  int32_t version;
  GroupShape of;
  int32_t refused;  // 1: offsets or counts do not fit, so there are no tiles
  int32_t tile;     // of kProductTiles
  int32_t steps;    // of K in a tile
  int32_t across;   // tiles along N
  int32_t band;     // tiles along a group's rows that are gone through before the next one along N
  int32_t tiles;    // of all groups
  int32_t whole;    // the first of them, handed out whole; what is left is cut into `blocks` shares of equal cost
  int32_t blocks;
  int32_t step_cycles;  // what a step is taken to cost
  int32_t unused[13];
};
constexpr int32_t kGroupPlanVersion = 1, kGroupPlanWords = int32_t(sizeof(GroupPlan) / 4);
static_assert(kGroupPlanWords == 32);
constexpr int64_t group_plan_words(int64_t groups) { return kGroupPlanWords + 3 * (groups + 1); }

namespace group {

// Entry i of a table: device code may not index one by what it only knows at run time.
template <int I = 0>
constexpr ProductTile tile_number(int i) {
  constexpr ProductTile kTile = kProductTiles[I];
  if constexpr (I + 1 < kProductTileCount)
    return i == I ? kTile : tile_number<I + 1>(i);
  else
    return kTile;
}
template <int I = 0>
constexpr ProductCard card_number(int i) {
  constexpr ProductCard kCard = kProductCards[I];
  if constexpr (I + 1 < kProductCardCount)
    return i == I ? kCard : card_number<I + 1>(i);
  else
    return kCard;
}

using product::up;

// Of a task beside its steps: until the first stage has come, and the way out. Assumed, as product::kFillCycles is.
constexpr int64_t kTaskCycles = product::kFillCycles;
constexpr int64_t kLeastSteps = product::kLeastSteps;

// Rows of a group in a tile, and its weights'.
constexpr int tokens_of(const ProductTile &t) { return t.swap ? t.columns : t.rows; }
constexpr int weights_of(const ProductTile &t) { return t.swap ? t.rows : t.columns; }
// Promotion takes registers for as many sums again, so codes have no tile of 256 columns. A block is of three
// warpgroups, whatever the plan's tile is.
constexpr bool takes(const ProductTile &t, int element_bytes) {
  return t.rows == 128 && (element_bytes > 1 || t.columns <= 128);
}

// What the groups of a call come to: those that have rows, their rows, and the row tiles that one kind of tile makes.
struct Counts {
  int64_t active, rows, row_tiles;
};
// Clocks that cut tiles take beside their steps: a block's second start, the start of the kernel that adds parts up,
// and the sums of two parts of a block to memory and back.
constexpr int64_t part_bytes(const ProductTile &t) { return int64_t(t.rows) * t.columns * 4; }
constexpr int64_t parts_cycles(const ProductTile &t) { return 2 * kTaskCycles + 4 * part_bytes(t) / product::kL2Bytes; }

constexpr int64_t steps_of(const GroupShape &of) { return up(int64_t(of.k) * of.element_bytes, product::kStepBytes); }

// Clocks of a step: what tensor cores, L2 and memory take, whichever is most. Of the tiles of a group that have the
// same weights one fetches them from memory.
constexpr int64_t step_cycles(const ProductTile &t, const ProductCard &card, const Counts &counts) {
  const int64_t instruction = product::instruction_cycles(t.columns, card.tensor_clocks);
  const int64_t tensor = t.rows / 64 * (product::kStepBytes / 32) * instruction;
  const int64_t l2 = (t.rows + t.columns) * product::kStepBytes / product::kL2Bytes;
  const int64_t memory = weights_of(t) * product::kStepBytes * 100 * counts.active / (card.memory * counts.row_tiles);
  const int64_t most = tensor > l2 ? tensor : l2;
  return most > memory ? most : memory;
}

constexpr int64_t task_cycles(int64_t steps, int64_t step) { return steps * step + kTaskCycles; }

struct Cut {
  int64_t time, whole, blocks, step;
};

// How `tiles` of one cost are handed out: whole ones, or the last one to two of each SM as shares of equal cost, which
// take `parts` clocks more, if any such cut is wanted.
constexpr Cut cut_of(int64_t tiles, int64_t steps, int64_t step, int64_t sms, int64_t parts) {
  const int64_t task = task_cycles(steps, step);
  const Cut whole{up(tiles, sms) * task, tiles, tiles < sms ? tiles : sms, step};
  const int64_t full = tiles / sms > 1 ? tiles / sms - 1 : 0, left = tiles - full * sms;
  const int64_t most = left * steps / kLeastSteps, blocks = full || most > sms ? sms : most;
  if (parts < 0 || steps < 2 * kLeastSteps || blocks < 1) return whole;
  const int64_t time = full * task + up(left * task, blocks) + parts;
  return time < whole.time ? Cut{time, full * sms, blocks, step} : whole;
}

// With kProductTiles[i]; no time where the product has no such tiles, or groups so few rows that most of one with 128
// would be padding.
constexpr Cut cut_with(int i, const GroupShape &of, const Counts &counts) {
  const ProductTile t = tile_number(i);
  const bool padded = !t.swap && counts.rows <= product::kSwapMost * counts.active;
  if (!takes(t, of.element_bytes) || (padded && counts.active)) return {INT64_MAX, 0, 0, 0};
  const int64_t tiles = counts.row_tiles * up(of.n, weights_of(t));
  if (!tiles) return {};
  return cut_of(tiles, steps_of(of), step_cycles(t, card_number(of.card), counts), of.sms,
                of.batch_invariant ? -1 : parts_cycles(t));
}

// Row tiles that stay in L2 while the weights pass, a third of it; or as many as make what runs at once about square.
constexpr int64_t band_of(const ProductTile &t, const GroupShape &of) {
  int64_t band = 1;
  while ((band + 1) * (band + 1) * tokens_of(t) <= int64_t(of.sms) * weights_of(t)) ++band;
  const int64_t bytes = tokens_of(t) * (steps_of(of) ? steps_of(of) : 1) * product::kStepBytes;
  const int64_t kept = (int64_t(card_number(of.card).l2_mb) << 20) / 3 / bytes;
  return kept > band ? kept : band;
}

constexpr GroupPlan plan_with(int i, const Cut &cut, const GroupShape &of, int64_t row_tiles) {
  const ProductTile t = tile_number(i);
  const int64_t across = up(of.n, weights_of(t));
  return {.version = kGroupPlanVersion,
          .of = of,
          .refused = 0,
          .tile = i,
          .steps = int32_t(steps_of(of)),
          .across = int32_t(across),
          .band = int32_t(band_of(t, of)),
          .tiles = int32_t(row_tiles * across),
          .whole = int32_t(cut.whole),
          .blocks = int32_t(cut.blocks),
          .step_cycles = int32_t(cut.step),
          .unused = {}};
}
constexpr GroupPlan refused_plan(const GroupShape &of) {
  GroupPlan plan{};
  plan.version = kGroupPlanVersion, plan.of = of, plan.refused = 1;
  return plan;
}

}  // namespace group

// Rows that a group has: of offsets its own and the next one's, of counts its own.
struct GroupRows {
  int first, count;
};
constexpr bool group_fits(const GroupShape &of, int own, int next) {
  return own >= 0 && (of.masked ? own <= of.rows / of.groups : own <= next && next <= of.rows);
}
constexpr GroupRows group_rows(const GroupShape &of, int g, int own, int next) {
  return of.masked ? GroupRows{g * (of.rows / of.groups), own} : GroupRows{own, next - own};
}

// Whether tiles are counted in 32 bits, whatever the groups have.
constexpr bool group_counts(const GroupShape &of) {
  const int64_t most = int64_t(of.rows) / 8 + of.groups;
  return most * product::up(of.n, 128) <= INT32_MAX;
}

// The step of the cut tiles with which share `b` begins: all of them are one line, on which each tile costs its start
// and its steps, and shares are equal pieces of it. A share has parts of at most kShareTiles tiles.
constexpr int kShareTiles = 3;
constexpr int64_t share_begin(const GroupPlan &plan, int b) {
  const int64_t steps = plan.steps, step = plan.step_cycles, task = group::task_cycles(steps, step);
  const int64_t at = (plan.tiles - plan.whole) * task * b / plan.blocks, in = at % task - group::kTaskCycles;
  const int64_t done = in <= 0 ? 0 : (in + step / 2) / step;
  return at / task * steps + (done < steps ? done : steps);
}

}  // namespace opswap
