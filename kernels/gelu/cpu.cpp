// gelu on a CPU: gelu by the error function or its tanh approximation. Element by element.
#include "gelu.gen.h"

#include <cmath>

#include "common/elementwise.h"

namespace opswap::OPSWAP_ISA {

constexpr double kSqrtTwoOverPi = 0.7978845608028654, kCubic = 0.044715, kSqrtHalf = 0.7071067811865476;

static double gelu_tanh_plain(double x) { return 0.5 * x * (1 + std::tanh(kSqrtTwoOverPi * (x + kCubic * x * x * x))); }

OPSWAP_REF(gelu) {
  if (a.tanh) return activated_rows_plain(a, gelu_tanh_plain);
  return activated_rows_plain(a, [](double x) { return 0.5 * x * std::erfc(-x * kSqrtHalf); });
}

// P(N <= x) = erfc(-x / sqrt 2) / 2. Of |x| it is below 1/2 and has no cancellation; Abramowitz and Stegun 7.1.26,
// 1.5e-7 absolute, with its factors 1/2 and 1 / sqrt 2 in the constants. Beyond 16 it is 0 in float32; NaN stays.
[[gnu::always_inline]] static inline vf normal_cdf(vf x) {
  constexpr float kHalfLog2e = 0.72134752f;
  const vf whole = abs(x), a = whole > 16.0f ? splat(16.0f) : whole, t = inverse(1.0f + 0.231641888f * a);
  vf p = splat(0.530702715f);
  for (float c : {-0.726576014f, 0.710706871f, -0.142248368f, 0.127414796f}) p = p * t + c;
  const vf tail = p * t * exp2(a * a * -kHalfLog2e);
  return x > 0.0f ? 1.0f - tail : tail;
}

OPSWAP_CPU(gelu) {
  if (a.tanh)
    return activated_rows(a, [](vf x) {
      const vf z = float(kSqrtTwoOverPi) * (x + float(kCubic) * x * x * x);
      return x * sigmoid(2.0f * z);
    });
  return activated_rows(a, [](vf x) { return x * normal_cdf(x); });
}

}  // namespace opswap::OPSWAP_ISA
