// linear on a CPU: input @ weight^T + bias. Gemv.h for few rows, gemm.h for many.
#include "linear.gen.h"

#include "gemm.h"
#include "gemv.h"

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

OPSWAP_CPU(linear) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_float_type(a.weight_dtype, [&]<class W>(W) {
      return with_math<E, W>(
          [&]<class Math>(Math) { return a.M <= kGemvMost ? linear_few<Math, E, W>(a) : linear_many<Math, E, W>(a); });
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
