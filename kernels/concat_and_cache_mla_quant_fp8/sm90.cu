// concat_and_cache_mla_quant_fp8 on sm_90a: rotation of key and query parts, and each token's latents as FP8 with a
// scale for each 128, in front of its key part in BF16. The kernels of common/device/concat_mla.h; docs/layouts.md has
// the bytes.
#include "concat_and_cache_mla_quant_fp8.gen.h"

#include "common/device/concat_mla.h"
#include "common/device/fp8_rows.h"

namespace opswap::OPSWAP_PASS {

constexpr float kLeastScale = 0x1p-126f;

struct ScaledTokens {
  uint8_t *data;  // [blocks, block_size]: codes of the latents, their scales, the key part
  int64_t block_stride, slot_stride;
  float floor;
  bool power_of_two;

  OPSWAP_DEVICE float given_scale() const { return 0; }  // each group has its own

  // A NaN has one pattern of bits.
  OPSWAP_DEVICE float scale_of_group(float most) const {
    const float scale = Max{}(scale_of(most, floor), kLeastScale);
    if (scale != scale) return __uint_as_float(0x7fffffff);
    return power_of_two ? __uint_as_float((__float_as_uint(scale) + 0x7fffff) & 0x7f800000) : scale;
  }

  // A group's scale is that of its lanes together, so all of a warp's come here.
  template <int N>
  OPSWAP_DEVICE void store_latents(int64_t token, bool stored, const Latents<N> &x, int begin, int end, float) const {
    constexpr int kStep = Latents<N>::kStep, kUnits = kLatentGroup / kStep;  // of a group
#pragma unroll
    for (int first = 0; first < Latents<N>::kUnits; first += kUnits) {
      float most = 0;
#pragma unroll
      for (int u = first; u < first + kUnits; ++u) most = amax(most, to_float(x.unit[u].elements()));
      const float scale = scale_of_group(warp_reduce<kTokenLanes>(most, Max{}));
      const Divisor by(scale);
      const int group = begin + first * kStep;
      if (!stored || group >= end) continue;
#pragma unroll
      for (int u = first; u < first + kUnits; ++u)
        store(reinterpret_cast<e4m3 *>(data) + token + begin + Latents<N>::at(u),
              codes_of(to_float(x.unit[u].elements()), by));
      if (threadIdx.x % kTokenLanes == 0)
        store(reinterpret_cast<float *>(data + token + end) + group / kLatentGroup, Vec<float, 1>{scale});
    }
  }

  template <int N>
  OPSWAP_DEVICE void store_key(int64_t token, int at, const Vec<float, N> &run, int latents, float) const {
    const int64_t key = token + latents + latents / kLatentGroup * int64_t(sizeof(float));
    store_floats(reinterpret_cast<bf16 *>(data + key) + at, run);
  }
};

OPSWAP_SM90_CAN(concat_and_cache_mla_quant_fp8) {
  if (placement(a.kv_cache) % int64_t(sizeof(float)))
    return "kv_cache needs to start on 4 bytes, and so do its rows: a token has scales in float32";
  return mla_refusal(a);
}

// sass concat_mla_kernel*: LDG.128 STG.128 STG.64
OPSWAP_SM90(concat_and_cache_mla_quant_fp8) {
  const ScaledTokens cache{a.kv_cache.as<uint8_t>(), a.kv_cache.stride[0], a.kv_cache.stride[1], float(a.floor),
                           a.power_of_two};
  const bool fits_cache = placement(a.kv_cache) % kWidest == 0 && (a.C + a.C / 32) % kWidest == 0;
  return concat_mla(a, exec, fits_cache, cache);
}

}  // namespace opswap::OPSWAP_PASS
