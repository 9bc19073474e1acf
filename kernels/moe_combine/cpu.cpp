// moe_combine on a CPU: the weighted sum of each token's rows, back from its experts. Sums stay in registers over a
// token's choices.
#include "moe_combine.gen.h"

#include "common/permute.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(moe_combine) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t)
      for (int64_t h = 0; h < a.H; ++h) {
        double sum = a.shared ? to_float(row<E>(a.shared, t)[h]) : 0;
        for (int64_t k = 0; k < a.K; ++k) {
          const int64_t r = index_at(a.row_of, t, k);
          if (r >= 0) sum += double(row<float>(a.topk_weights, t)[k]) * to_float(row<E>(a.rows, r)[h]);
        }
        row<E>(a.out, t)[h] = from_float<E>(float(sum));
      }
    return opswap_status{OPSWAP_OK};
  });
}

// Features [h, h + kWide vectors) of token t: sums stay in registers over all choices.
template <class E, int kWide>
static void combine_wide(const moe_combine_args &a, int64_t t, int64_t h) {
  vf sums[kWide] = {};
  if (a.shared)
    for (int i = 0; i < kWide; ++i) sums[i] = load(row<E>(a.shared, t) + h + i * kLanes);
  for (int64_t k = 0; k < a.K; ++k) {
    const int64_t r = index_at(a.row_of, t, k);
    if (r < 0) continue;
    const vf weight = splat(row<float>(a.topk_weights, t)[k]);
    const E *x = row<E>(a.rows, r) + h;
    for (int i = 0; i < kWide; ++i) sums[i] += weight * load(x + i * kLanes);
  }
  for (int i = 0; i < kWide; ++i) store(row<E>(a.out, t) + h + i * kLanes, sums[i]);
}

template <class E>
static void combine_tail(const moe_combine_args &a, int64_t t, int64_t h) {
  const int64_t left = a.H - h;
  vf sum = a.shared ? load_tail(row<E>(a.shared, t) + h, left) : vf{};
  for (int64_t k = 0; k < a.K; ++k) {
    const int64_t r = index_at(a.row_of, t, k);
    if (r >= 0) sum += splat(row<float>(a.topk_weights, t)[k]) * load_tail(row<E>(a.rows, r) + h, left);
  }
  store_tail(row<E>(a.out, t) + h, sum, left);
}

OPSWAP_CPU(moe_combine) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.T, rows_per_task(a.H * (a.K + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        int64_t h = 0;
        for (; h + 8 * kLanes <= a.H; h += 8 * kLanes) combine_wide<E, 8>(a, t, h);
        for (; h + kLanes <= a.H; h += kLanes) combine_wide<E, 1>(a, t, h);
        if (h < a.H) combine_tail<E>(a, t, h);
      }
    });
    return opswap_status{OPSWAP_OK};
  });
}

}  // namespace opswap::OPSWAP_ISA
