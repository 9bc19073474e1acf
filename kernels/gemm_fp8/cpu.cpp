// gemm_fp8 on a CPU: products with FP8 weights (common/product.h); the scales are applied to whole sums.
#include "gemm_fp8.gen.h"

#include "common/product.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(gemm_fp8) {
  const bool codes = a.input_dtype == DType::float8_e4m3fn;
  if (codes != bool(a.input_scale))
    return fail(OPSWAP_E_VALUE, "gemm_fp8: input_scale is %s; it needs to be given with an input of codes only",
                codes ? "missing" : "given");
  if (codes && a.S == 0 && a.M)
    return fail(OPSWAP_E_SHAPE, "gemm_fp8: input_scale is [0], needs [1] or [%lld]", (long long)a.M);
  return OPSWAP_OK;
}

static float input_scale_of(const gemm_fp8_args &a, int64_t m) {
  return a.input_scale ? a.input_scale.as<float>()[a.S == 1 ? 0 : m] : 1.0f;
}

template <class X>
struct Scaled : PlainRows<gemm_fp8_args, X, e4m3> {
  static constexpr const char *kOp = "gemm_fp8";
  static constexpr bool kFactors = false;

  void write(int64_t m, int64_t n, const vf sums[], int64_t width) const {
    const gemm_fp8_args &a = this->a;
    const float *of = a.weight_scale.as<float>();
    vf scale = splat(of[0]);
    if (a.V > 1) scale = width == kLanes ? load(of + n) : load_tail(of + n, width);
    const auto as = [&]<class E>(E) {
      store_outputs(row<E>(a.out, m) + n, sums[0] * (scale * splat(input_scale_of(a, m))),
                    a.bias ? a.bias.as<E>() + n : nullptr, width);
    };
    a.scalar_dtype == DType::bfloat16 ? as(bf16{}) : as(fp16{});
  }
};

template <class E, class X>
static void multiply_plain(const gemm_fp8_args &a) {
  for (int64_t m = 0; m < a.M; ++m)
    for (int64_t n = 0; n < a.N; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < a.K; ++k)
        sum += double(to_float(row<X>(a.input, m)[k])) * to_float(row<e4m3>(a.weight, n)[k]);
      sum *= double(input_scale_of(a, m)) * a.weight_scale.as<float>()[a.V == 1 ? 0 : n];
      row<E>(a.out, m)[n] = from_float<E>(float(sum + (a.bias ? to_float(a.bias.as<E>()[n]) : 0.0f)));
    }
}

OPSWAP_REF(gemm_fp8) {
  const bool wide = a.scalar_dtype == DType::bfloat16;
  with_half_or_code(a.input_dtype, [&]<class X>(X) { wide ? multiply_plain<bf16, X>(a) : multiply_plain<fp16, X>(a); });
  return OPSWAP_OK;
}

OPSWAP_CPU(gemm_fp8) {
  return with_half_or_code(a.input_dtype, [&]<class X>(X) {
    return with_code_math<X>([&]<class Math>(Math) { return product<Math>(Scaled<X>{{a}}, a.batch_invariant); });
  });
}

}  // namespace opswap::OPSWAP_ISA
