// grouped_gemm_bf16 on a CPU: each group's rows times the weights of the group, in 16 bits.
#include "grouped_gemm_bf16.gen.h"

#include "common/groups.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(grouped_gemm_bf16) { return check_groups("grouped_gemm_bf16", a); }

template <class E>
static void multiply_row(const grouped_gemm_bf16_args &a, int64_t g, int64_t r) {
  const E *x = row<E>(a.input, input_row(a, r));
  for (int64_t n = 0; n < a.N; ++n) {
    const E *w = weight_row<E>(a.weight, g, n);
    double sum = 0;
    for (int64_t k = 0; k < a.K; ++k) sum += double(to_float(x[k])) * to_float(w[k]);
    row<E>(a.out, r)[n] = from_float<E>(float(sum));
  }
}

static opswap_status multiply(const grouped_gemm_bf16_args &a) {
  each_row(a, [&](int64_t g, int64_t r) {
    a.scalar_dtype == DType::bfloat16 ? multiply_row<bf16>(a, g, r) : multiply_row<fp16>(a, g, r);
  });
  return OPSWAP_OK;
}

OPSWAP_REF(grouped_gemm_bf16) { return multiply(a); }

OPSWAP_CPU(grouped_gemm_bf16) { return multiply(a); }

}  // namespace opswap::OPSWAP_ISA
