// Groups of rows on a CPU, each with weights of its own: what a call may not have, and which rows a group has. Shared
// by the rooms of grouped products and of their plan.
#pragma once

#include "common/device/group_plan.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Offsets or counts, and the rows that they are held against.
struct GroupIndex {
  const int32_t *at;
  int32_t groups, rows, masked;
  GroupShape shape() const { return {.masked = masked, .groups = groups, .rows = rows}; }
  int next(int g) const { return masked ? 0 : at[g + 1]; }
  bool fits(int g) const { return group_fits(shape(), at[g], next(g)); }
  opswap::GroupRows of(int g) const { return group_rows(shape(), g, at[g], next(g)); }
};
template <class Args>
inline GroupIndex index_of(const Args &a, int64_t rows) {
  const bool masked = bool(a.masked_m);
  return {(masked ? a.masked_m : a.expert_first_row).template as<const int32_t>(), int32_t(masked ? a.E : a.F - 1),
          int32_t(rows), masked};
}
// The shape of a product; of the card a plan says more.
template <class Args>
inline GroupShape shape_of(const Args &a, int element_bytes) {
  return {
      bool(a.masked_m), int32_t(a.G), int32_t(a.R), int32_t(a.N), int32_t(a.K), element_bytes, a.batch_invariant, 0, 0};
}

// Offsets or counts that do not fit are an error, which names the first of them.
inline opswap_status check_index(const char *op, const GroupIndex &index) {
  for (int g = 0; g < index.groups; ++g) {
    if (index.fits(g)) continue;
    if (index.masked)
      return fail(OPSWAP_E_VALUE, "%s: masked_m[%d] is %d, needs 0 to %d rows", op, g, index.at[g],
                  index.rows / index.groups);
    return fail(OPSWAP_E_VALUE, "%s: group %d has rows %d to %d, needs offsets that rise from 0 to at most %d", op, g,
                index.at[g], index.next(g), index.rows);
  }
  return OPSWAP_OK;
}

template <class Args>
inline opswap_status check_kind(const char *op, const Args &a) {
  if (bool(a.expert_first_row) == bool(a.masked_m))
    return fail(OPSWAP_E_ARGUMENT, "%s: came with %s of expert_first_row and masked_m, needs one of them", op,
                a.masked_m ? "both" : "neither");
  if (a.expert_first_row && a.F < 1)
    return fail(OPSWAP_E_SHAPE, "%s: expert_first_row is empty, needs one entry more than there are groups", op);
  return OPSWAP_OK;
}

// Why a plan is not one of this product, or nullptr.
inline const char *plan_refusal(const GroupPlan &plan, const GroupShape &of) {
  if (plan.version != kGroupPlanVersion) return "is of another version";
  if (plan.of.masked != of.masked) return "is of groups of the other kind, offsets or counts";
  if (plan.of.groups != of.groups || plan.of.rows != of.rows || plan.of.n != of.n || plan.of.k != of.k ||
      plan.of.element_bytes != of.element_bytes)
    return "is of another shape";
  if (plan.of.card < 0 || plan.of.card >= kProductCardCount || plan.of.sms < 1 ||
      plan.of.sms > kProductCards[plan.of.card].sms)
    return "is for a card that is not known";
  if (of.batch_invariant && !plan.of.batch_invariant) return "is not batch_invariant";
  return plan.refused ? "was made of offsets or counts that do not fit" : nullptr;
}

template <class Args>
inline opswap_status check_plan_values(const char *op, const Args &a, const GroupIndex &index, const GroupShape &of) {
  GroupPlan plan;
  std::memcpy(&plan, a.plan.data, sizeof plan);
  const char *why = plan_refusal(plan, of);
  const int32_t groups = index.groups, *first = a.plan.template as<const int32_t>() + kGroupPlanWords + groups + 1;
  for (int g = 0; g < groups && !why; ++g)
    if (first[g] != index.of(g).first || first[groups + 1 + g] != index.of(g).count)
      why = "was made of other offsets or counts";
  return why ? fail(OPSWAP_E_PLAN, "%s: the plan %s; make another with grouped_gemm_plan", op, why)
             : opswap_status{OPSWAP_OK};
}

// What op.json cannot state of a grouped product; values only where the CPU can look at them.
template <class Args>
inline opswap_status check_groups(const char *op, const Args &a, int element_bytes) {
  if (opswap_status status = check_kind(op, a)) return status;
  if (a.row_indices && a.masked_m)
    return fail(OPSWAP_E_ARGUMENT, "%s: row_indices came with masked_m, needs expert_first_row", op);
  if (!a.row_indices && a.T != a.R)
    return fail(OPSWAP_E_SHAPE, "%s: input has %lld rows, needs the %lld of out, or row_indices", op, (long long)a.T,
                (long long)a.R);
  if (a.plan && (a.P != group_plan_words(a.G) || a.plan.stride[0] != 1))
    return fail(OPSWAP_E_PLAN, "%s: the plan has %lld words, needs %lld for %lld groups, without gaps", op,
                (long long)a.P, (long long)group_plan_words(a.G), (long long)a.G);
  if (a.device_type != kDLCPU) return OPSWAP_OK;
  const GroupIndex index = index_of(a, a.R);
  if (opswap_status status = check_index(op, index)) return status;
  if (a.plan)
    if (opswap_status status = check_plan_values(op, a, index, shape_of(a, element_bytes))) return status;
  for (int g = 0; g < a.G && a.row_indices; ++g)
    for (int r = index.of(g).first, end = r + index.of(g).count; r < end; ++r)
      if (const int32_t at = a.row_indices.template as<const int32_t>()[r]; at < 0 || at >= a.T)
        return fail(OPSWAP_E_VALUE, "%s: row_indices[%d] is %d, needs 0 to %lld", op, r, at, (long long)a.T - 1);
  return OPSWAP_OK;
}

// The row of input that row r of out is of.
template <class Args>
inline int64_t input_row(const Args &a, int64_t r) {
  return a.row_indices ? a.row_indices.template as<const int32_t>()[r] : r;
}

// Calls body(group, row) for each row that a group has.
template <class Args, class Body>
inline void each_row(const Args &a, Body &&body) {
  const GroupIndex index = index_of(a, a.R);
  for (int g = 0; g < index.groups; ++g)
    for (int r = index.of(g).first, end = r + index.of(g).count; r < end; ++r) body(g, int64_t(r));
}

// Row n of the weights of group g.
template <class E>
inline const E *weight_row(const Tensor &weight, int64_t g, int64_t n) {
  return weight.as<const E>() + g * weight.stride[0] + n * weight.stride[1];
}

}  // namespace opswap::OPSWAP_ISA
