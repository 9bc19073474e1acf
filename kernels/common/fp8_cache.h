// Heads as FP8 codes in a paged cache, divided by a scale that is given or by one that is made for each token and head.
#pragma once

#include "common/op.h"
#include "common/quantize.h"

namespace opswap::OPSWAP_ISA {

// Codes of n features; without a scale one is made. The scale. Plain takes one feature at a time.
template <bool Plain, class E>
inline float quantize_head(e4m3 *out, const E *x, int64_t n, const float *given) {
  if constexpr (Plain) {
    uint32_t most = 0;
    for (int64_t i = 0; i < n; ++i) most = std::max(most, magnitude(to_float(x[i])));
    const float scale = given ? *given : scale_of(most);
    for (int64_t i = 0; i < n; ++i) out[i] = from_float<e4m3>(to_float(x[i]) / scale);
    return scale;
  } else {
    const float scale = given ? *given : scale_of(amax(x, n));
    quantize_span(out, x, n, scale, given != nullptr);
    return scale;
  }
}

struct Fp8Cache {
  const Tensor &codes;   // [NB, KH, BS, n]
  const Tensor &given;   // [1] or [KH]; or none: made for each head where `scales` keep it, else 1
  const Tensor &scales;  // [NB, KH, BS, 1], what each head was divided by; or none

  static int64_t at(const Tensor &t, int64_t block, int64_t h, int64_t offset) {
    return block * t.stride[0] + h * t.stride[1] + offset * t.stride[2];
  }

  template <bool Plain, class E>
  void store_head(int64_t block, int64_t h, int64_t offset, const E *x, int64_t n) const {
    const bool is_given = given && given.shape[0];
    const float by = is_given ? given.as<float>()[given.shape[0] == 1 ? 0 : h] : 1.0f;
    e4m3 *to = codes.as<e4m3>() + at(codes, block, h, offset);
    const float scale = quantize_head<Plain>(to, x, n, scales && !is_given ? nullptr : &by);
    if (scales) scales.as<float>()[at(scales, block, h, offset)] = scale;
  }
};

}  // namespace opswap::OPSWAP_ISA
