// silu_and_mul on a CPU: silu(gate) * up. The loop of common/gated.h.
#include "silu_and_mul.gen.h"

#include <cmath>

#include "common/gated.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(silu_and_mul) {
  return gated_rows_plain(a, [](double x) { return x / (1 + std::exp(-x)); });
}

OPSWAP_CPU(silu_and_mul) {
  return gated_rows(a, [](vf x) { return x * sigmoid(x); });
}

}  // namespace opswap::OPSWAP_ISA
