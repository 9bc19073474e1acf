// gemm_bf16_split on a CPU: two products (common/product.h), with the low parts of the weights, whose sums are small,
// and with the high ones; their sums meet where an output is written.
#include "gemm_bf16_split.gen.h"

#include "common/product.h"

namespace opswap::OPSWAP_ISA {

struct SplitWeights {
  static constexpr const char *kOp = "gemm_bf16_split";
  static constexpr int kParts = 2;
  static constexpr bool kFactors = false;
  const gemm_bf16_split_args &a;
  int64_t M = a.M, N = a.N, K = a.K;

  const bf16 *input(int64_t m) const { return row<bf16>(a.input, m); }
  const Tensor &weights(int part) const { return part ? a.weight_hi : a.weight_lo; }
  const bf16 *weight(int part, int64_t n) const { return row<bf16>(weights(part), n); }
  int64_t weight_stride(int part) const { return weights(part).stride[0]; }
  void write(int64_t m, int64_t n, const vf sums[], int64_t width) const {
    const auto as = [&]<class E>(E) {
      store_outputs(row<E>(a.out, m) + n, sums[0] * splat(float(a.lo_scale)) + sums[1],
                    a.bias ? a.bias.as<float>() + n : nullptr, width);
    };
    a.scalar_dtype == DType::bfloat16 ? as(bf16{}) : as(float{});
  }
};

template <class E>
static void multiply_plain(const gemm_bf16_split_args &a) {
  for (int64_t m = 0; m < a.M; ++m)
    for (int64_t n = 0; n < a.N; ++n) {
      double sum = a.bias ? a.bias.as<float>()[n] : 0.0f;
      for (int64_t k = 0; k < a.K; ++k) {
        const double hi = to_float(row<bf16>(a.weight_hi, n)[k]), lo = to_float(row<bf16>(a.weight_lo, n)[k]);
        sum += to_float(row<bf16>(a.input, m)[k]) * (hi + a.lo_scale * lo);
      }
      row<E>(a.out, m)[n] = from_float<E>(float(sum));
    }
}

OPSWAP_REF(gemm_bf16_split) {
  a.scalar_dtype == DType::bfloat16 ? multiply_plain<bf16>(a) : multiply_plain<float>(a);
  return OPSWAP_OK;
}

OPSWAP_CPU(gemm_bf16_split) {
  return with_math<bf16, bf16>([&]<class Math>(Math) { return product<Math>(SplitWeights{a}, a.batch_invariant); });
}

}  // namespace opswap::OPSWAP_ISA
