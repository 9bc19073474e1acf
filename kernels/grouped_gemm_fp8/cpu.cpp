// grouped_gemm_fp8 on a CPU: each group's rows of codes times codes of the group, with a scale per tensor, or per token
// and channel.
#include "grouped_gemm_fp8.gen.h"

#include "common/grouped_product.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(grouped_gemm_fp8) { return check_groups("grouped_gemm_fp8", a, 1); }

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

struct Codes : GroupRows<grouped_gemm_fp8_args, e4m3, e4m3> {
  static constexpr const char *kOp = "grouped_gemm_fp8";
  static constexpr bool kFactors = false;
  void write(int64_t m, int64_t n, const vf sums[], int64_t width) const {
    const float token_scale = a.input_scale.as<float>()[a.A > 1 ? token(m) : 0],
                *channel = row<float>(a.weight_scale, g);
    const vf scale = a.C == 1 ? splat(channel[0]) : width == kLanes ? load(channel + n) : load_tail(channel + n, width);
    store_row(m, n, sums[0] * (scale * splat(token_scale)), width);
  }
};

OPSWAP_CPU(grouped_gemm_fp8) {
  return with_code_math<e4m3>([&]<class Math>(Math) { return each_group<Math, Codes>(a); });
}

}  // namespace opswap::OPSWAP_ISA
