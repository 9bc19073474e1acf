// gemm_bf16_split on a CPU: a product over twice K (common/product.h), first with the low parts of the weights, whose
// sums are small, and then with the high ones.
#include "gemm_bf16_split.gen.h"

#include "common/product.h"

namespace opswap::OPSWAP_ISA {

struct SplitWeights {
  static constexpr const char *kOp = "gemm_bf16_split";
  static constexpr int kParts = 1;
  const gemm_bf16_split_args &a;
  int64_t M = a.M, N = a.N, K = a.K, each = (a.K + kBlock - 1) / kBlock, blocks = 2 * each;

  const bf16 *input(int64_t m) const { return row<bf16>(a.input, m); }
  int64_t input_block(int64_t b) const { return b < each ? b : b - each; }
  template <class Math>
  void weight(vu words[], int, int64_t n, int64_t b) const {
    const int64_t k = input_block(b) * kBlock;
    decode_block<Math>(words, row<bf16>(b < each ? a.weight_lo : a.weight_hi, n) + k, K - k);
  }
  float factor(int64_t, int64_t, int64_t b) const { return b < each ? float(a.lo_scale) : 1.0f; }
  void write(int64_t m, int64_t n, const vf sums[], int64_t width) const {
    const auto as = [&]<class E>(E) {
      store_outputs(row<E>(a.out, m) + n, sums[0], a.bias ? a.bias.as<float>() + n : nullptr, width);
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
