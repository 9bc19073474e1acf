// grouped_gemm_fp8_block128 on a CPU: each group's rows times FP8 weights of the group, which have a scale per
// 128 x 128.
#include "grouped_gemm_fp8_block128.gen.h"

#include "common/grouped_product.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(grouped_gemm_fp8_block128) {
  const bool codes = a.input_dtype == DType::float8_e4m3fn;
  if (codes != bool(a.input_scale))
    return fail(OPSWAP_E_VALUE,
                "grouped_gemm_fp8_block128: input_scale is %s; it needs to be given with an input of codes only",
                codes ? "missing" : "given");
  const int64_t rows = a.mn_major ? a.S1 : a.S0, blocks = a.mn_major ? a.S0 : a.S1;
  if (codes && (rows != a.T || blocks != a.B1))
    return fail(OPSWAP_E_SHAPE,
                "grouped_gemm_fp8_block128: input_scale is [%lld, %lld], needs %lld rows and %lld blocks%s",
                (long long)a.S0, (long long)a.S1, (long long)a.T, (long long)a.B1, a.mn_major ? ", exchanged" : "");
  return check_groups("grouped_gemm_fp8_block128", a, 1);
}

// The scale of row t in columns [128 b, 128 b + 128).
static float input_scale_at(const grouped_gemm_fp8_block128_args &a, int64_t t, int64_t b) {
  if (!a.input_scale) return 1.0f;
  const int64_t along = a.input_scale.stride[0];
  return a.input_scale.as<float>()[a.mn_major ? b * along + t : t * along + b];
}

template <class E, class X>
static void multiply_row(const grouped_gemm_fp8_block128_args &a, int64_t g, int64_t r) {
  const int64_t t = input_row(a, r);
  const X *x = row<X>(a.input, t);
  for (int64_t n = 0; n < a.N; ++n) {
    const e4m3 *w = weight_row<e4m3>(a.weight, g, n);
    const float *scale = weight_row<float>(a.weight_scale, g, n / kBlock);
    double sum = 0;
    for (int64_t k = 0; k < a.K; ++k)
      sum += double(to_float(x[k])) * input_scale_at(a, t, k / kBlock) * to_float(w[k]) * scale[k / kBlock];
    row<E>(a.out, r)[n] = from_float<E>(float(sum));
  }
}

template <class E>
static void multiply_rows(const grouped_gemm_fp8_block128_args &a) {
  with_half_or_code(a.input_dtype,
                    [&]<class X>(X) { each_row(a, [&](int64_t g, int64_t r) { multiply_row<E, X>(a, g, r); }); });
}

static opswap_status multiply(const grouped_gemm_fp8_block128_args &a) {
  a.scalar_dtype == DType::bfloat16 ? multiply_rows<bf16>(a) : multiply_rows<fp16>(a);
  return OPSWAP_OK;
}

OPSWAP_REF(grouped_gemm_fp8_block128) { return multiply(a); }

template <class X>
struct Blocks : GroupRows<grouped_gemm_fp8_block128_args, X, e4m3> {
  static constexpr const char *kOp = "grouped_gemm_fp8_block128";
  static constexpr bool kFactors = true;
  float factor(int64_t m, int64_t n, int64_t b) const {
    return weight_row<float>(this->a.weight_scale, this->g, n / kBlock)[b] * input_scale_at(this->a, this->token(m), b);
  }
  void write(int64_t m, int64_t n, const vf sums[], int64_t width) const { this->store_row(m, n, sums[0], width); }
};

OPSWAP_CPU(grouped_gemm_fp8_block128) {
  return with_half_or_code(a.input_dtype, [&]<class X>(X) {
    return with_code_math<X>([&]<class Math>(Math) { return each_group<Math, Blocks<X>>(a); });
  });
}

}  // namespace opswap::OPSWAP_ISA
