// What a product of gemm_fp8_block128 is made of (common/product.h).
#pragma once

#include "common/product.h"
#include "gemm_fp8_block128.gen.h"

namespace opswap::OPSWAP_ISA {

// The scale of row m in columns [128 b, 128 b + 128).
inline float input_scale_at(const gemm_fp8_block128_args &a, int64_t m, int64_t b) {
  if (!a.input_scale) return 1.0f;
  const int64_t along = a.input_scale.stride[0];
  return a.input_scale.as<float>()[a.mn_major ? b * along + m : m * along + b];
}

template <class X>
struct Block128 : PlainRows<gemm_fp8_block128_args, X, e4m3> {
  static constexpr const char *kOp = "gemm_fp8_block128";
  static constexpr bool kFactors = true;

  float factor(int64_t m, int64_t n, int64_t b) const {
    return row<float>(this->a.weight_scale, n / kBlock)[b] * input_scale_at(this->a, m, b);
  }
  void write(int64_t m, int64_t n, const vf sums[], int64_t width) const {
    const gemm_fp8_block128_args &a = this->a;
    const auto as = [&]<class E>(E) {
      store_outputs(row<E>(a.out, m) + n, sums[0], a.bias ? a.bias.as<const E>() + n : nullptr, width);
    };
    a.scalar_dtype == DType::bfloat16 ? as(bf16{}) : as(fp16{});
  }
};

}  // namespace opswap::OPSWAP_ISA
