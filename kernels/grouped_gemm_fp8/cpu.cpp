// grouped_gemm_fp8 on a CPU: each group's rows of codes times codes of the group, with a scale per tensor, or per token
// and channel.
#include "grouped_gemm_fp8.gen.h"

#include "common/groups.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(grouped_gemm_fp8) { return check_groups("grouped_gemm_fp8", a); }

template <class E>
static void multiply_row(const grouped_gemm_fp8_args &a, int64_t g, int64_t r) {
  const int64_t t = input_row(a, r);
  const e4m3 *x = row<e4m3>(a.input, t);
  const float token = a.input_scale.as<float>()[a.A > 1 ? t : 0], *channel = row<float>(a.weight_scale, g);
  for (int64_t n = 0; n < a.N; ++n) {
    const e4m3 *w = weight_row<e4m3>(a.weight, g, n);
    double sum = 0;
    for (int64_t k = 0; k < a.K; ++k) sum += double(to_float(x[k])) * to_float(w[k]);
    row<E>(a.out, r)[n] = from_float<E>(float(sum * token * channel[a.C > 1 ? n : 0]));
  }
}

static opswap_status multiply(const grouped_gemm_fp8_args &a) {
  each_row(a, [&](int64_t g, int64_t r) {
    a.scalar_dtype == DType::bfloat16 ? multiply_row<bf16>(a, g, r) : multiply_row<fp16>(a, g, r);
  });
  return OPSWAP_OK;
}

OPSWAP_REF(grouped_gemm_fp8) { return multiply(a); }

OPSWAP_CPU(grouped_gemm_fp8) { return multiply(a); }

}  // namespace opswap::OPSWAP_ISA
