// Reads input rows of gemm_fp8_block128, in FP8 or 16 bits, as words for the matrix loops, and their scales.
#pragma once

#include "common/op.h"
#include "common/rows.h"
#include "decode.h"
#include "gemm_fp8_block128.gen.h"

namespace opswap::OPSWAP_ISA {

// The scale of row m in columns [128 b, 128 b + 128).
inline float input_scale_at(const gemm_fp8_block128_args &a, int64_t m, int64_t b) {
  if (!a.input_scale) return 1.0f;
  const int64_t along = a.input_scale.stride[0];
  return a.input_scale.as<float>()[a.mn_major ? b * along + m : m * along + b];
}

// Calls body(E{}) with the type of the output.
template <class Body>
inline auto with_output(const gemm_fp8_block128_args &a, Body &&body) {
  return a.scalar_dtype == DType::bfloat16 ? body(bf16{}) : body(fp16{});
}

// Calls body(X{}) with the type of the input.
template <class Body>
inline auto with_input(const gemm_fp8_block128_args &a, Body &&body) {
  switch (a.input_dtype) {
    case DType::bfloat16:
      return body(bf16{});
    case DType::float16:
      return body(fp16{});
    default:
      return body(e4m3{});
  }
}

constexpr int64_t padded(int64_t k) { return round_up(k, kBlock); }

// to[0..padded(n)) = x in words, filled up with zeros.
template <class Math, class X>
inline void widen_row(uint32_t *to, const X *x, int64_t n) {
  constexpr int64_t kWords = kBlock / Math::kPerWord;
  for (int64_t i = 0; i < n; i += kBlock, to += kWords) {
    const int64_t left = n - i < kBlock ? n - i : kBlock;
    if constexpr (std::is_same_v<X, e4m3>) {
      vu words[kBlockVectors<Math>];
      decode_block<Math>(words, x + i, left);
      std::memcpy(to, words, sizeof words);
    } else {
      if (left < kBlock) std::memset(to, 0, kWords * 4);
      copy_words<Math>(to, x + i, left);
    }
  }
}

}  // namespace opswap::OPSWAP_ISA
