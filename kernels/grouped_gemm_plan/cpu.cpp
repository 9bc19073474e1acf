// grouped_gemm_plan on a CPU: how a grouped product is cut into tiles for the SMs of a card.
#include "grouped_gemm_plan.gen.h"

#include "common/groups.h"

namespace opswap::OPSWAP_ISA {

static GroupShape shape_of_plan(const grouped_gemm_plan_args &a) {
  const int card = product_card(a.card, kProductCards[product_card(0, 0)].sms);
  return {bool(a.masked_m),       int32_t(a.masked_m ? a.E : a.F - 1),
          int32_t(a.rows),        int32_t(a.n),
          int32_t(a.k),           int32_t(a.element_bytes),
          a.batch_invariant,      card,
          kProductCards[card].sms};
}

OPSWAP_CHECK(grouped_gemm_plan) {
  if (opswap_status status = check_kind("grouped_gemm_plan", a)) return status;
  const GroupShape of = shape_of_plan(a);
  if (a.P != group_plan_words(of.groups))
    return fail(OPSWAP_E_SHAPE, "grouped_gemm_plan: plan has %lld words, needs %lld for %d groups", (long long)a.P,
                (long long)group_plan_words(of.groups), of.groups);
  if (of.masked && of.groups && of.rows % of.groups)
    return fail(OPSWAP_E_SHAPE, "grouped_gemm_plan: rows is %d, needs a multiple of the %d groups", of.rows, of.groups);
  if (!group_counts(of))
    return fail(OPSWAP_E_ARGUMENT, "grouped_gemm_plan: rows is %d and n %d, needs fewer than 2^31 tiles", of.rows,
                of.n);
  return a.device_type == kDLCPU ? check_index("grouped_gemm_plan", index_of(a, a.rows)) : opswap_status{OPSWAP_OK};
}

// Of equal times the first, which has the smaller tile.
static GroupPlan best_plan(const GroupShape &of, const GroupIndex &index) {
  GroupPlan best{};
  int64_t least = INT64_MAX;
  for (int i = 0; i < kProductTileCount; ++i) {
    group::Counts counts{};
    for (int g = 0; g < index.groups; ++g) {
      const int64_t rows = index.of(g).count;
      counts.active += rows > 0, counts.rows += rows;
      counts.row_tiles += product::up(rows, group::tokens_of(kProductTiles[i]));
    }
    const group::Cut cut = group::cut_with(i, of, counts);
    if (cut.time >= least) continue;
    least = cut.time;
    best = group::plan_with(i, cut, of, counts.row_tiles);
  }
  return best;
}

static opswap_status make_plan(const grouped_gemm_plan_args &a) {
  const GroupIndex index = index_of(a, a.rows);
  const GroupPlan plan = best_plan(shape_of_plan(a), index);
  const int groups = plan.of.groups;
  int32_t *before = a.plan.as<int32_t>() + kGroupPlanWords, *first = before + groups + 1, *count = first + groups + 1,
          tiles = 0;
  std::memcpy(a.plan.data, &plan, sizeof plan);
  for (int g = 0; g <= groups; ++g) {
    const opswap::GroupRows rows = g < groups ? index.of(g) : opswap::GroupRows{0, 0};
    before[g] = tiles, first[g] = rows.first, count[g] = rows.count;
    tiles += int32_t(product::up(rows.count, group::tokens_of(kProductTiles[plan.tile]))) * plan.across;
  }
  return OPSWAP_OK;
}

OPSWAP_REF(grouped_gemm_plan) { return make_plan(a); }

OPSWAP_CPU(grouped_gemm_plan) { return make_plan(a); }

}  // namespace opswap::OPSWAP_ISA
