// Plans of matrix products: every tile is done once, none lies outside, all of K is taken, and the modelled time is
// that of a count by hand.
#include "common/device/product_plan.h"

#include <algorithm>
#include <set>
#include <vector>

#include "check.h"

using namespace opswap;

namespace {

const std::vector<int> kSizes = {1, 7, 8, 9, 16, 17, 33, 64, 65, 127, 128, 129, 300, 576, 2112, 7168};
const std::vector<int> kSms = {1, 2, 78, 132};

struct Weights {
  int n, k;
};
const std::vector<Weights> kDense = {{2112, 7168}, {576, 7168},  {24576, 1536}, {32768, 512},  {7168, 16384},
                                     {4096, 7168}, {7168, 2048}, {2048, 7168},  {65536, 1536}, {8192, 1536}};

// Calls body(plan, m, n, row bytes, sms) for many products, and for those of DeepSeek's models in 16 and 8 bits.
template <class Body>
void each_plan(Body &&body) {
  for (const int m : kSizes)
    for (const int n : kSizes)
      for (const int bytes : {0, 2, 128, 130, 1152, 14336})
        for (const int sms : kSms) body(plan_product(m, n, bytes, sms), m, n, bytes, sms);
  for (const auto &[n, k] : kDense)
    for (const int m : {1, 8, 64, 128, 1024, 4096})
      for (const int element : {1, 2})
        for (const int sms : kSms)
          body(plan_product(m, n, int64_t(k) * element, sms, element == 1 ? 128 : 256), m, n, k * element, sms);
}

const ProductTile &tile_of(const ProductPlan &plan) { return kProductTiles[plan.tile]; }

}  // namespace

CASE(plans_do_each_tile_once_and_none_outside) {
  int wrong = 0;
  each_plan([&](const ProductPlan &plan, int m, int n, int, int) {
    std::vector<int> done(size_t(plan.down) * plan.across);
    for (int cluster = 0; cluster < plan.clusters; ++cluster)
      for (int number = cluster; number < plan.down * plan.across; number += plan.clusters) {
        const TileAt at = tile_at(plan, number);
        const bool inside = at.down >= 0 && at.down < plan.down && at.across >= 0 && at.across < plan.across;
        if (inside) ++done[size_t(at.down) * plan.across + at.across];
        wrong += !inside;
      }
    wrong += std::any_of(done.begin(), done.end(), [](int count) { return count != 1; });
    const int rows = tile_of(plan).swap ? n : m, columns = tile_of(plan).swap ? m : n;
    wrong += plan.down * tile_of(plan).rows < rows || (plan.down - 1) * tile_of(plan).rows >= rows;
    wrong += plan.across * tile_of(plan).columns < columns || (plan.across - 1) * tile_of(plan).columns >= columns;
  });
  EXPECT(wrong == 0);
}

CASE(plans_take_all_of_k_once) {
  int wrong = 0;
  each_plan([&](const ProductPlan &plan, int, int, int bytes, int) {
    wrong += first_step(plan, 0) != 0 || first_step(plan, plan.split) != plan.steps;
    for (int rank = 0; plan.split > 1 && rank < plan.split; ++rank)
      wrong += first_step(plan, rank + 1) - first_step(plan, rank) < product::kLeastSteps;
    wrong += plan.steps * product::kStepBytes < bytes || (plan.steps - 1) * product::kStepBytes >= std::max(bytes, 1);
  });
  EXPECT(wrong == 0);
}

CASE(plans_fit_the_card) {
  int wrong = 0;
  each_plan([&](const ProductPlan &plan, int, int, int, int sms) {
    wrong += plan.clusters < 1 || plan.clusters * plan.split > sms;
    wrong += plan.split > 1 && plan.clusters != plan.down * plan.across;  // a block whose peers wait has one tile
    wrong += plan.split > 1 && 4 * tile_of(plan).columns > 128 * tile_of(plan).stages;  // sums and ring, of each row
  });
  EXPECT(wrong == 0);
}

// A tile of all M where it is at most 64 rows, no wider than its M needs; many rows go the other way round.
CASE(plans_swap_for_few_rows) {
  for (const int m : {1, 8, 9, 16, 24, 32, 33, 48, 64}) {
    const ProductPlan plan = plan_product(m, 7168, 4096, 132);
    EXPECT(tile_of(plan).swap);
    EXPECT(plan.across == 1);
    EXPECT(tile_of(plan).columns - m < 16);
  }
  EXPECT(!tile_of(plan_product(4096, 7168, 4096, 132)).swap);
}

// 16 tiles of 128 rows leave most of 132 SMs idle: a cluster of eight for each has them busy. 17 tiles have clusters of
// five, three in each GPC of 16 SMs; of seven there would be two in each.
CASE(plans_split_k_where_tiles_are_few) {
  EXPECT(plan_product(1, 2048, 8192, 132).split == 8);
  EXPECT(plan_product(1, 2112, 14336, 132).split == 5);
  EXPECT(plan_product(1, 128 * 132, 8192, 132).split == 1);
}

CASE(plans_have_clusters_that_gpcs_hold_at_once) {
  int wrong = 0;
  each_plan([&](const ProductPlan &plan, int, int, int, int sms) {
    int held = 0;
    for (int left = sms; left > 0; left -= 16) held += std::min(left, 16) / plan.split;
    wrong += plan.clusters > std::max(held, 1);
  });
  EXPECT(wrong == 0);
}

// Rows of both operands that tiles ask memory for when nothing stays in L2 from one wave of tiles to the next.
int64_t rows_read(ProductPlan plan, int band) {
  const ProductTile &tile = tile_of(plan);
  plan.band = band;
  int64_t read = 0;
  for (int number = 0; number < plan.down * plan.across; number += plan.clusters) {
    std::set<int> down, across;
    for (int i = number; i < std::min(number + plan.clusters, plan.down * plan.across); ++i) {
      const TileAt at = tile_at(plan, i);
      down.insert(at.down), across.insert(at.across);
    }
    read += int64_t(down.size()) * tile.rows + int64_t(across.size()) * tile.columns;
  }
  return read;
}

CASE(plans_go_through_bands_that_read_little) {
  for (const int sms : {78, 132})
    for (const int n : {4096, 7168, 9216, 24576}) {
      const ProductPlan plan = plan_product(4096, n, 1 << 17, sms);
      int64_t least = INT64_MAX;
      for (int band = 1; band <= plan.down; ++band) least = std::min(least, rows_read(plan, band));
      EXPECT(double(rows_read(plan, plan.band)) < 1.15 * double(least));
    }
}

// 4096 rows of 3 KB stay in L2 while all of the weights go by once.
CASE(plans_keep_in_l2_what_fits_there) {
  const ProductPlan plan = plan_product(4096, 65536, 3072, 132);
  EXPECT(plan.band == plan.down);
}

// Each SM of two has one tile of 128 x 256, of which two stages take 2 * 4 * 128 cycles of the tensor cores each; L2
// gives them 49152 bytes at 38 a clock, which takes longer; tensor cores that are four times slower take longest.
CASE(plans_are_timed_by_what_binds) {
  const ProductTile wide{128, 256, 4, false}, narrow{128, 8, 11, true};
  EXPECT(product::cycles(wide, 384, 2, 2, 1, 2, 1) == 2 * (49152 / 38) + product::kFillCycles);
  EXPECT(product::cycles(wide, 384, 3, 2, 1, 2, 1) == 2 * product::cycles(wide, 384, 2, 2, 1, 2, 1));
  EXPECT(product::cycles(wide, 256, 1, 2, 1, 2, 1) == 2 * 1024 + product::kFillCycles);
  EXPECT(product::cycles(wide, 384, 2, 2, 1, 2, 4) == 2 * 4 * 1024 + product::kFillCycles);
  EXPECT(product::cycles(narrow, 136, 1, 16, 4, 132, 1) ==
         4 * (136 * 128 / 38) + 128 * 8 * 4 / 38 + 2 * product::kFillCycles);
}

// Of all ways the plan takes the one of fewest modelled cycles; one that must not hang on M never splits a sum.
CASE(plans_take_the_best_way_and_invariant_ones_split_nothing) {
  int wrong = 0;
  for (const ProductCard &card : kProductCards)
    for (const int64_t m : {1, 8, 64, 65, 4096})
      for (const bool invariant : {false, true}) {
        const ProductShape shape{m, 2112, 14336, 256, invariant};
        const ProductWay best = best_way(shape, card);
        product::each_way(shape, card.sms, [&](ProductWay way) {
          wrong += product::cycles_of(shape, card, way) < product::cycles_of(shape, card, best);
          wrong += invariant && way.split != 1;
        });
        wrong += product::way_fault(shape, card.sms, best) != nullptr;
        wrong += plan_product(shape, card).tile != best.tile || plan_product(shape, card).split != best.split;
      }
  EXPECT(wrong == 0);
  EXPECT(product::way_fault({8, 2112, 14336, 256, true}, 132, {0, 2}) != nullptr);
  for (int tile = 0; tile < kProductTileCount; ++tile)
    if (kProductTiles[tile].columns > 128 || kProductTiles[tile].rows < 128)
      EXPECT(product::way_fault({4096, 2112, 14336, 128, false}, 132, {tile, 1}) != nullptr);
}

// 192 rows by 44 tiles across are 132 tiles of 64 rows, one for each SM; of 128 rows there are fewer, which take longer
// and are too many for clusters. As many swapped by 64 take as long, and their sums have to be turned. A kernel that
// has no such tile, or a product whose rows would leave most of it to padding, does not take it.
CASE(plans_take_half_of_a_tile_where_that_fills_the_card) {
  const ProductCard card = kProductCards[product_card(0, 132)];
  const auto rows = [&](int64_t m, int lowest) {
    return tile_of(plan_product({m, 44 * 128, 7168, 128, false, false, lowest}, card)).rows;
  };
  EXPECT(rows(192, 64) == 64);
  EXPECT(rows(192, 128) == 128);
  EXPECT(rows(4096, 64) == 128);
  EXPECT(product::way_fault({32, 5632, 7168, 128, false, false, 64}, 132, {kProductTileCount - 1, 1}) != nullptr);
}

// 16 tiles down are eight twos: as many rounds, and half of the columns for each block. 1 tile down has none.
CASE(plans_pair_blocks_where_that_costs_no_round) {
  const ProductCard card = kProductCards[product_card(0, 132)];
  const auto plan = [&](int m, bool pairs) { return plan_product({m, 7168, 4096, 256, false, pairs}, card); };
  EXPECT(plan(2048, true).pair == 2 && plan(2048, true).split == 1);
  EXPECT(plan(2048, true).down == 8 && plan(2048, true).clusters * 2 <= 132);
  EXPECT(plan(2048, false).pair == 1);
  EXPECT(plan(128, true).pair == 1);
  EXPECT(plan(1, true).pair == 1);
}
