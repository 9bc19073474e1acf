// gemm_fp8_block128 on a CPU: products with FP8 weights that have a scale per 128 x 128. Checks, the plain loop, and
// the choice between few rows and many (common/product.h), which a plan keeps.
#include "gemm_fp8_block128.gen.h"

#include "plan.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(gemm_fp8_block128) {
  const bool codes = a.input_dtype == DType::float8_e4m3fn;
  if (codes != bool(a.input_scale))
    return fail(OPSWAP_E_VALUE,
                "gemm_fp8_block128: input_scale is %s; it needs to be given with an input of codes only",
                codes ? "missing" : "given");
  const int64_t rows = a.mn_major ? a.S1 : a.S0, groups = a.mn_major ? a.S0 : a.S1;
  if (codes && (rows != a.M || groups != a.B1))
    return fail(OPSWAP_E_SHAPE, "gemm_fp8_block128: input_scale is [%lld, %lld], needs %lld rows and %lld groups%s",
                (long long)a.S0, (long long)a.S1, (long long)a.M, (long long)a.B1, a.mn_major ? ", exchanged" : "");
  return OPSWAP_OK;
}

template <class E, class X>
static void multiply_plain(const gemm_fp8_block128_args &a) {
  for (int64_t m = 0; m < a.M; ++m)
    for (int64_t n = 0; n < a.N; ++n) {
      double sum = a.bias ? to_float(a.bias.as<E>()[n]) : 0.0;
      for (int64_t k = 0; k < a.K; ++k) {
        const double x = double(to_float(row<X>(a.input, m)[k])) * input_scale_at(a, m, k / kBlock);
        sum += x * to_float(row<e4m3>(a.weight, n)[k]) * row<float>(a.weight_scale, n / kBlock)[k / kBlock];
      }
      row<E>(a.out, m)[n] = from_float<E>(float(sum));
    }
}

OPSWAP_REF(gemm_fp8_block128) {
  const bool wide = a.scalar_dtype == DType::bfloat16;
  with_half_or_code(a.input_dtype, [&]<class X>(X) { wide ? multiply_plain<bf16, X>(a) : multiply_plain<fp16, X>(a); });
  return OPSWAP_OK;
}

OPSWAP_CPU(gemm_fp8_block128) {
  GemmPlan plan = gemm_plan(a);
  if (planned(exec, plan))
    if (const char *why = gemm_plan_refusal(plan, a))
      return fail(OPSWAP_E_PLAN, "gemm_fp8_block128: the plan %s; make another with opswap_plan", why);
  return with_half_or_code(a.input_dtype, [&]<class X>(X) {
    return with_code_math<X>([&]<class Math>(Math) {
      const Block128<X> job{{a}};
      return plan.few ? product_few<Math>(job, a.batch_invariant, plan.grain) : product_many<Math>(job, plan.grain);
    });
  });
}

OPSWAP_CPU_PLAN(gemm_fp8_block128, GemmPlan) {
  plan = gemm_plan(a);
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
