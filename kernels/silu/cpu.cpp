// silu on a CPU: silu, element by element. The loop of common/elementwise.h.
#include "silu.gen.h"

#include <cmath>

#include "common/elementwise.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(silu) {
  return activated_rows_plain(a, [](double x) { return x / (1 + std::exp(-x)); });
}

OPSWAP_CPU(silu) {
  return activated_rows(a, [](vf x) { return x * sigmoid(x); });
}

}  // namespace opswap::OPSWAP_ISA
