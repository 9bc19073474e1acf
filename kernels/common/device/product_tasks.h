// Tasks of a product: a tile of out and the steps of K that a block multiplies for it. A source of tasks has
//   kEarly                  whether they are known before a kernel in front has ended
//   first(), end(), step()  the numbers of this block's tasks
//   at(number)              a task
//   split(), pair()         blocks of a cluster that each have a part of a tile's steps; or two that have a tile each,
//   one
//                           below the other, and bring the second operand together
//   kParts, keep()          whether tasks may have a part, and what becomes of its sums; a task of kNoTile is none
#pragma once

#include "common/device/product_plan.h"
#include "common/sm90/platform.h"

namespace opswap {

// In the place of a part.
inline constexpr int kWholeTile = -1, kNoTile = -2;

struct ProductTask {
  int token, token_end;   // rows of out: the tile's first one, and the end of those that are written
  int column;             // of out, the tile's first one
  int weight;             // row of the weight's tensor map with which the tile begins
  int group;              // of the weights
  int begin, end;         // steps of K
  int part = kWholeTile;  // where sums are kept that are of a part of K, if the source cuts tiles so
};

// The tiles of a plan; `Of` rows of weight are a column of out.
template <class Memory, int Of = 1>
struct DenseTasks {
  static constexpr bool kEarly = true, kParts = false;
  ProductPlan plan;
  int m;  // rows of out

  OPSWAP_DEVICE int first() const { return int(blockIdx.x) / (plan.split * plan.pair); }
  OPSWAP_DEVICE int end() const { return plan.down * plan.across; }
  OPSWAP_DEVICE int step() const { return plan.clusters; }
  OPSWAP_DEVICE int split() const { return plan.split; }
  OPSWAP_DEVICE int pair() const { return plan.pair; }
  OPSWAP_DEVICE ProductTask at(int number) const {
    auto [down, across] = tile_at(plan, number);
    down = down * plan.pair + int(blockIdx.x) % plan.pair;
    const int rank = int(blockIdx.x) % plan.split;
    const int token = (Memory::kSwap ? across : down) * Memory::kTokens;
    const int feature = (Memory::kSwap ? down : across) * Memory::kFeatures;
    return {token, m, feature / Of, feature, 0, first_step(plan, rank), first_step(plan, rank + 1)};
  }
};

}  // namespace opswap
