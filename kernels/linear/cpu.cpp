// linear on a CPU: input @ weight^T + bias, by common/product.h.
#include "linear.gen.h"

#include "common/product.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(linear) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_float_type(a.weight_dtype, [&]<class W>(W) {
      for (int64_t m = 0; m < a.M; ++m)
        for (int64_t n = 0; n < a.N; ++n) {
          double dot = a.bias ? to_float(a.bias.as<W>()[n]) : 0.0;
          for (int64_t k = 0; k < a.K; ++k)
            dot += double(to_float(row<E>(a.input, m)[k])) * to_float(row<W>(a.weight, n)[k]);
          row<E>(a.out, m)[n] = from_float<E>(float(dot));
        }
      return opswap_status{OPSWAP_OK};
    });
  });
}

template <class E, class W>
struct Projection : PlainRows<linear_args, E, W> {
  static constexpr const char *kOp = "linear";
  static constexpr bool kFactors = false;

  void write(int64_t m, int64_t n, const vf sums[], int64_t width) const {
    const linear_args &a = this->a;
    store_outputs(row<E>(a.out, m) + n, sums[0], a.bias ? a.bias.as<const W>() + n : nullptr, width);
  }
};

OPSWAP_CPU(linear) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_float_type(a.weight_dtype, [&]<class W>(W) {
      return with_math<E, W>([&]<class Math>(Math) { return product<Math>(Projection<E, W>{{a}}, a.batch_invariant); });
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
