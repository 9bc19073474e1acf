// grouped_gemm_plan on a CPU: how a grouped product is cut into tiles for the SMs of a card.
#include "grouped_gemm_plan.gen.h"

#include "common/groups.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(grouped_gemm_plan) {
  if (opswap_status status = check_kind("grouped_gemm_plan", a)) return status;
  const int64_t groups = a.masked_m ? a.E : a.F - 1;
  if (a.P != group_plan_words(groups))
    return fail(OPSWAP_E_SHAPE, "grouped_gemm_plan: plan has %lld words, needs %lld for %lld groups", (long long)a.P,
                (long long)group_plan_words(groups), (long long)groups);
  if (a.masked_m && groups && a.rows % groups)
    return fail(OPSWAP_E_SHAPE, "grouped_gemm_plan: rows is %lld, needs a multiple of the %lld groups",
                (long long)a.rows, (long long)groups);
  return a.device_type == kDLCPU ? check_index("grouped_gemm_plan", index_of(a, a.rows)) : opswap_status{OPSWAP_OK};
}

// Of equal times the first, which has the smaller tile.
static GroupPlan best_plan(const GroupShape &of, const GroupIndex &index) {
  GroupPlan best{};
  int64_t least = INT64_MAX;
  for (int i = 0; i < kProductTileCount; ++i) {
    int64_t tiles = 0, active = 0;
    for (int g = 0; g < index.groups; ++g) {
      tiles += product::up(index.of(g).count, group::tokens_of(kProductTiles[i]));
      active += index.of(g).count > 0;
    }
    const group::Cut cut = group::cut_with(i, of, tiles, active);
    if (cut.time >= least) continue;
    least = cut.time;
    best = group::plan_with(i, cut, of, tiles);
  }
  return best;
}

static opswap_status make_plan(const grouped_gemm_plan_args &a) {
  const GroupIndex index = index_of(a, a.rows);
  const int card = product_card(a.card, kProductCards[product_card(0, 0)].sms);
  const GroupShape of{bool(a.masked_m), index.groups,      int32_t(a.rows), int32_t(a.n),           int32_t(a.k),
                      int32_t(a.element_bytes), a.batch_invariant, card,            kProductCards[card].sms};
  const GroupPlan plan = best_plan(of, index);
  int32_t *before = a.plan.as<int32_t>() + kGroupPlanWords, *first = before + index.groups + 1,
          *count = first + index.groups + 1, tiles = 0;
  std::memcpy(a.plan.data, &plan, sizeof plan);
  for (int g = 0; g <= index.groups; ++g) {
    const GroupRows rows = g < index.groups ? index.of(g) : GroupRows{0, 0};
    before[g] = tiles, first[g] = rows.first, count[g] = rows.count;
    tiles += int32_t(product::up(rows.count, group::tokens_of(kProductTiles[plan.tile]))) * plan.across;
  }
  return OPSWAP_OK;
}

OPSWAP_REF(grouped_gemm_plan) { return make_plan(a); }

OPSWAP_CPU(grouped_gemm_plan) { return make_plan(a); }

}  // namespace opswap::OPSWAP_ISA
