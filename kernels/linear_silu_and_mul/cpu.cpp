// linear_silu_and_mul on a CPU: gate and up of the same outputs are summed by one task (common/product.h), so that the
// activation takes them from its registers.
#include "linear_silu_and_mul.gen.h"

#include <cmath>

#include "common/product.h"

namespace opswap::OPSWAP_ISA {

template <class E>
struct GateUp : PlainRows<linear_silu_and_mul_args, E, E, 2> {
  static constexpr const char *kOp = "linear_silu_and_mul";
  static constexpr bool kFactors = false;

  void write(int64_t m, int64_t n, const vf sums[], int64_t width) const {
    const linear_silu_and_mul_args &a = this->a;
    vf gate = sums[0], up = sums[1];
    if (a.bias) {
      const E *bias = a.bias.as<E>() + n;
      gate += width == kLanes ? load(bias) : load_tail(bias, width);
      up += width == kLanes ? load(bias + a.I) : load_tail(bias + a.I, width);
    }
    store_outputs(row<E>(a.out, m) + n, gate * sigmoid(gate) * up, static_cast<const E *>(nullptr), width);
  }
};

OPSWAP_REF(linear_silu_and_mul) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    const auto dot = [&](int64_t m, int64_t n) {
      double sum = a.bias ? to_float(a.bias.as<E>()[n]) : 0.0;
      for (int64_t k = 0; k < a.K; ++k)
        sum += double(to_float(row<E>(a.input, m)[k])) * to_float(row<E>(a.weight, n)[k]);
      return sum;
    };
    for (int64_t m = 0; m < a.M; ++m)
      for (int64_t i = 0; i < a.I; ++i) {
        const double gate = dot(m, i);
        row<E>(a.out, m)[i] = from_float<E>(float(gate / (1 + std::exp(-gate)) * dot(m, a.I + i)));
      }
    return opswap_status{OPSWAP_OK};
  });
}

OPSWAP_CPU(linear_silu_and_mul) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_math<E, E>([&]<class Math>(Math) { return product<Math>(GateUp<E>{{a}}, a.batch_invariant); });
  });
}

}  // namespace opswap::OPSWAP_ISA
