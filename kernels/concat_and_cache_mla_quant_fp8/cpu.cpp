// concat_and_cache_mla_quant_fp8 on a CPU: rotation of key and query parts, and each token's latents as FP8 with a
// scale for each 128, in front of its key part in BF16. The loops of common/concat_mla.h; docs/layouts.md has the
// bytes.
#include "concat_and_cache_mla_quant_fp8.gen.h"

#include <cmath>

#include "common/concat_mla.h"
#include "common/quantize.h"

namespace opswap::OPSWAP_ISA {

constexpr float kLeastScale = 0x1p-126f;

// Of a group whose largest magnitude is `most`. A NaN has one pattern of bits.
static float token_scale(const concat_and_cache_mla_quant_fp8_args &a, uint32_t most) {
  const float scale = scale_of(most, std::fabs(float(a.floor)));
  if (scale != scale) return std::bit_cast<float>(0x7fffffff);
  const uint32_t bits = std::bit_cast<uint32_t>(std::max(scale, kLeastScale));
  return std::bit_cast<float>(a.power_of_two ? (bits + 0x7fffff) & 0x7f800000 : bits);
}

static void store_group_plain(e4m3 *to, const float *x, float scale) {
  for (int64_t i = 0; i < kGroup; ++i) to[i] = from_float<e4m3>(x[i] / scale);
}

static void one_nan(e4m3 *codes) {
  for (int64_t i = 0; i < kGroup; ++i)
    if ((codes[i].bits & 0x7f) == 0x7f) codes[i].bits = 0x7f;
}

template <bool Plain, class E>
static void store_latents(const concat_and_cache_mla_quant_fp8_args &a, char *token, const E *x) {
  e4m3 *codes = reinterpret_cast<e4m3 *>(token);
  for (int64_t g = 0; g < a.C / kGroup; ++g, codes += kGroup, x += kGroup) {
    float wide[kGroup];
    uint32_t most = 0;
    if constexpr (Plain) {
      widen<true>(wide, x, kGroup);
      for (float v : wide) most = std::max(most, magnitude(v));
    } else {
      most = amax(x, kGroup);
    }
    const float scale = token_scale(a, most);
    Plain ? store_group_plain(codes, wide, scale) : quantize_span(codes, x, kGroup, scale, false);
    if (!(scale <= __FLT_MAX__)) [[unlikely]]
      one_nan(codes);
    std::memcpy(token + a.C + g * int64_t(sizeof scale), &scale, sizeof scale);
  }
}

template <bool Plain>
static void store_key(char *to, const float *key, int64_t n) {
  float x[kMostRope];
  bf16 rounded[kMostRope];
  for (int64_t i = 0; i < n; ++i) x[i] = key[i] == key[i] ? key[i] : std::bit_cast<float>(0x7fffffff);
  narrow<Plain>(rounded, x, n);
  std::memcpy(to, rounded, size_t(n) * sizeof(bf16));
}

template <bool Plain, class E>
static auto storing(const concat_and_cache_mla_quant_fp8_args &a) {
  return [&a](int64_t t, int64_t slot, const float *key) {
    char *token = slot_of<char>(a.kv_cache, slot);
    store_latents<Plain>(a, token, row<E>(a.kv_c, t));
    store_key<Plain>(token + a.C + a.C / kGroup * int64_t(sizeof(float)), key, a.R);
  };
}

OPSWAP_REF(concat_and_cache_mla_quant_fp8) {
  return with_scalar(a, [&]<class E>(E) { mla_tokens<true, E>(a, 0, a.T, storing<true, E>(a)); });
}

OPSWAP_CPU(concat_and_cache_mla_quant_fp8) {
  return with_scalar(a, [&]<class E>(E) { mla_tokens_parallel<E>(a, storing<false, E>(a)); });
}

}  // namespace opswap::OPSWAP_ISA
