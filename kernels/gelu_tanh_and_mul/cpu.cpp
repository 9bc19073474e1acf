// gelu_tanh_and_mul on a CPU: gelu(gate) * up, with the tanh approximation. The loop of common/gated.h.
#include "gelu_tanh_and_mul.gen.h"

#include <cmath>

#include "common/gated.h"

namespace opswap::OPSWAP_ISA {

constexpr double kSqrtTwoOverPi = 0.7978845608028654, kCubic = 0.044715;

OPSWAP_REF(gelu_tanh_and_mul) {
  return gated_rows_plain(
      a, [](double x) { return 0.5 * x * (1 + std::tanh(kSqrtTwoOverPi * (x + kCubic * x * x * x))); });
}

OPSWAP_CPU(gelu_tanh_and_mul) {
  // 0.5 (1 + tanh z) = 1 / (1 + e^-2z): one exponential and no cancellation for negative x.
  return gated_rows(a, [](vf x) {
    const vf z = float(kSqrtTwoOverPi) * (x + float(kCubic) * x * x * x);
    return x * sigmoid(2.0f * z);
  });
}

}  // namespace opswap::OPSWAP_ISA
