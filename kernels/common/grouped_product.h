// Products of groups on a CPU, each with weights of its own: one after the other by common/product.h, all threads on
// each. A plan is checked (groups.h) and else of no use here: what it decides are tiles of a card.
#pragma once

#include "common/groups.h"
#include "common/product.h"

namespace opswap::OPSWAP_ISA {

// What the products of all rooms have in common: rows of a group, of X, with its weights, of W.
template <class Args, class X, class W>
struct GroupRows {
  static constexpr int kParts = 1;
  const Args &a;
  int64_t g, first, M;
  int64_t N = a.N, K = a.K;

  int64_t token(int64_t m) const { return input_row(a, first + m); }
  const X *input(int64_t m) const { return row<X>(a.input, token(m)); }
  const W *weight(int, int64_t n) const { return weight_row<W>(a.weight, g, n); }
  int64_t weight_stride(int) const { return a.weight.stride[1]; }

  // out[m][n ..] = sums, in the type of the output.
  void store_row(int64_t m, int64_t n, vf sums, int64_t width) const {
    const auto as = [&]<class E>(E) {
      store_outputs(row<E>(a.out, first + m) + n, sums, static_cast<const E *>(nullptr), width);
    };
    a.scalar_dtype == DType::bfloat16 ? as(bf16{}) : as(fp16{});
  }
};

template <class Math, class Job, class Args>
inline opswap_status each_group(const Args &a) {
  const GroupIndex index = index_of(a, a.R);
  for (int g = 0; g < index.groups; ++g) {
    const auto of = index.of(g);
    if (of.count < 1) continue;
    if (opswap_status status = product<Math>(Job{{a, g, of.first, of.count}}, a.batch_invariant)) return status;
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
