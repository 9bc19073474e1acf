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
// 1.5e-7 absolute.
static vf normal_cdf(vf x) {
  const vf z = abs(x) * float(kSqrtHalf), t = 1.0f / (1.0f + 0.3275911f * z);
  vf p = splat(1.061405429f);
  for (float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) p = p * t + c;
  const vf tail = 0.5f * p * t * exp(-z * z);
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
