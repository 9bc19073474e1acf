// Rows of tokens ordered by expert, shared by the rooms that expand them.
#pragma once

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Row of each choice, experts one behind the other and tokens of an expert in order; a choice of -1 gets row -1.
// Counting sort: first_row itself counts, so nothing is allocated.
template <class I>
inline void order_by_expert(const Tensor &first_row, const Tensor &row_of, const Tensor &ids, int64_t alignment) {
  I *first = first_row.as<I>();
  const int64_t experts = first_row.shape[0] - 1, tokens = ids.shape[0], choices = ids.shape[1];
  const auto each = [&](auto &&body) {
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t k = 0; k < choices; ++k) body(row<I>(ids, t)[k], row<I>(row_of, t)[k]);
  };
  for (int64_t e = 0; e <= experts; ++e) first[e] = 0;
  each([&](I expert, I &) { first[expert + 1] += expert >= 0; });
  first[0] = 0;
  for (int64_t e = 0; e < experts; ++e)
    first[e + 1] = I(first[e] + (first[e + 1] + alignment - 1) / alignment * alignment);
  each([&](I expert, I &at) { at = expert >= 0 ? first[expert]++ : I(-1); });
  each([&](I expert, I &) { first[expert >= 0 ? expert : experts] -= expert >= 0; });
}

template <class Args>
inline void order_by_expert(const Args &a) {
  if (a.index_dtype == DType::int64)
    order_by_expert<int64_t>(a.expert_first_row, a.row_of, a.topk_ids, a.alignment);
  else
    order_by_expert<int32_t>(a.expert_first_row, a.row_of, a.topk_ids, a.alignment);
}

// Element [t][k] of an int32 or int64 matrix.
inline int64_t index_at(const Tensor &m, int64_t t, int64_t k) {
  return m.dtype == DType::int64 ? row<int64_t>(m, t)[k] : row<int32_t>(m, t)[k];
}

}  // namespace opswap::OPSWAP_ISA
