#include "moe_permute_quant_fp8.gen.h"

#include <algorithm>
#include <cstring>

#include "common/fp8.h"
#include "common/permute.h"

namespace opswap::OPSWAP_ISA {

// Magnitudes are compared as bits, where NaN is above infinity: a block with a NaN gets a NaN scale and NaN codes.
static float block_scale(uint32_t amax) {
  return std::bit_cast<float>(std::max(amax, std::bit_cast<uint32_t>(1e-4f))) / 448.0f;
}

template <class E>
static float quantize_plain(e4m3 *out, const E *x, int64_t n) {
  uint32_t amax = 0;
  for (int64_t i = 0; i < n; ++i) amax = std::max(amax, std::bit_cast<uint32_t>(to_float(x[i])) & 0x7fffffff);
  const float scale = block_scale(amax);
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<e4m3>(to_float(x[i]) / scale);
  return scale;
}

template <class E>
static float quantize(e4m3 *out, const E *x, int64_t n) {
  vu most = {};
  const auto take = [&](vf v) {
    const vu magnitude = (vu)v & 0x7fffffff;
    most = magnitude > most ? magnitude : most;
  };
  for_lanes(n, [&](int64_t i) { take(load(x + i)); }, [&](int64_t i, int64_t left) { take(load_tail(x + i, left)); });
  uint32_t amax = 0;
  for (int lane = 0; lane < kLanes; ++lane) amax = std::max<uint32_t>(amax, most[lane]);
  const float scale = block_scale(amax);
  const vf s = splat(scale);
  for_lanes(
      n, [&](int64_t i) { store(out + i, load(x + i) / s); },
      [&](int64_t i, int64_t left) { store_tail(out + i, load_tail(x + i, left) / s, left); });
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
