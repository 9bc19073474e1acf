// moe_permute_quant_fp8 on a CPU: moe_permute whose rows become FP8 codes with scales. A token is quantised once and
// copied to its other places.
#include "moe_permute_quant_fp8.gen.h"

#include <cstring>

#include "common/permute.h"
#include "common/quantize.h"

namespace opswap::OPSWAP_ISA {

template <class E>
static float quantize_plain(e4m3 *out, const E *x, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, magnitude(to_float(x[i])));
  const float scale = scale_of(most);
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<e4m3>(to_float(x[i]) / scale);
  return scale;
}

template <class E>
static float quantize(e4m3 *out, const E *x, int64_t n) {
  const float scale = scale_of(amax(x, n));
  quantize_span(out, x, n, scale, false);
  return scale;
}

// A token is quantised into the row of its first choice and copied from there to the others.
template <class E, class Quantize>
static void expand(const moe_permute_quant_fp8_args &a, int64_t begin, int64_t end, Quantize &&quantize_block) {
  const int64_t block = a.H / a.G;
  for (int64_t t = begin; t < end; ++t) {
    int64_t first = -1;
    for (int64_t k = 0; k < a.K; ++k) {
      const int64_t to = index_at(a.row_of, t, k);
      if (to < 0) continue;
      e4m3 *codes = row<e4m3>(a.permuted, to);
      float *scale = row<float>(a.scale, to);
      if (first >= 0) {
        std::memcpy(codes, row<e4m3>(a.permuted, first), size_t(a.H));
        std::memcpy(scale, row<float>(a.scale, first), size_t(a.G) * sizeof(float));
        continue;
      }
      first = to;
      for (int64_t g = 0; g < a.G; ++g)
        scale[g] = quantize_block(codes + g * block, row<E>(a.input, t) + g * block, block);
    }
  }
}

OPSWAP_REF(moe_permute_quant_fp8) {
  order_by_expert(a);
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    expand<E>(a, 0, a.T, quantize_plain<E>);
    return opswap_status{OPSWAP_OK};
  });
}

OPSWAP_CPU(moe_permute_quant_fp8) {
  order_by_expert(a);
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.T, rows_per_task(a.H * a.K),
                 [&](int64_t begin, int64_t end) { expand<E>(a, begin, end, quantize<E>); });
    return opswap_status{OPSWAP_OK};
  });
}

}  // namespace opswap::OPSWAP_ISA
