// Rows of weights on their way into dot products: a step of elements becomes vectors of words (words.h) in registers,
// exactly. What words have more room than an element is used: word l of a step of 16 bits has elements 2l and 2l + 1,
// of 8 bits 4l to 4l + 3, and vector v of the step takes part v of every word. x is packed in the same order.
#pragma once

#include "common/fp8_words.h"

namespace opswap::OPSWAP_ISA {

template <class Math, class W>
struct WeightWords {  // float32 and fp16, and bf16 where the CPU multiplies pairs of it
  static constexpr int kVectors = 1;
  template <bool Any>
  static void decode(vu words[], const W *p) {
    words[0] = load_words<Math>(p);
  }
};

inline vu load_bits(const void *p) {
  vu bits;
  std::memcpy(&bits, p, sizeof bits);
  return bits;
}

template <>
struct WeightWords<Floats, bf16> {
  static constexpr int kVectors = 2;
  template <bool Any>
  static void decode(vu words[], const bf16 *p) {
    const vu both = load_bits(p);
    words[0] = both << 16;
    words[1] = both & 0xffff0000;
  }
};

// Any code, in the highest byte of each lane; code m < 8 is m * 2^-9.
inline vu float_of_any(vi high) {
  const vi m = high >> 24 & 0x7f, sign = high & int(0x80000000);
  const vi small = (vi)(__builtin_convertvector(m, vf) * 0x1p-9f) | sign, normal = ((m << 20) + (120 << 23)) | sign;
  return (vu)(m == 0x7f ? vi{} + 0x7fc00000 : m < 8 ? small : normal);
}

template <>
struct WeightWords<Floats, e4m3> {
  static constexpr int kVectors = 4;
  // Only with Any may there be NaN, zero or a subnormal code. The others have their fields where bf16 has them once
  // they are shifted down by 4 from the high byte of 16 bits, with an exponent that is 120 too small.
  template <bool Any>
  static void decode(vu words[], const e4m3 *p) {
    const vu codes = load_bits(p);
    if constexpr (Any) {
      for (int v = 0; v < 4; ++v) words[v] = float_of_any((vi)(codes << (24 - 8 * v)));
      return;
    }
    typedef int16_t halves __attribute__((vector_size(kLanes * 4)));
    const halves fields = halves{} + int16_t(0x87f0), bias = halves{} + int16_t(120 << 7);
    const vu odd = (vu)(((halves)codes >> 4 & fields) + bias), even = (vu)(((halves)codes << 8 >> 4 & fields) + bias);
    words[0] = even << 16;
    words[1] = odd << 16;
    words[2] = even & 0xffff0000;
    words[3] = odd & 0xffff0000;
  }
};

#if defined(__AVX512F__)
template <>
struct WeightWords<Bf16Pairs, e4m3> {
  static constexpr int kVectors = 2;
  template <bool Any>
  static void decode(vu words[], const e4m3 *p) {
    const __m512i codes = _mm512_loadu_si512(p);
    words[0] = pairs_of<Any>(_mm512_castsi512_si256(codes));
    words[1] = pairs_of<Any>(_mm512_extracti64x4_epi64(codes, 1));
  }
};
#endif

// Whether the words of n elements, at most a block, can be decoded with Any = false.
template <class W>
inline bool plain_block(const W *p, int64_t n) {
  if constexpr (std::is_same_v<W, e4m3>) return n == kBlock && all_normal(p);
  return n == kBlock;
}

template <class Math, class W>
constexpr int64_t kStepElements = WeightWords<Math, W>::kVectors * kLanes * Math::kPerWord;

// Lanes 0, 2, 4 .. of a, then of b; from lane `First` on.
template <int First, int... L>
inline vf every_second(vf a, vf b, std::integer_sequence<int, L...>) {
  return __builtin_shuffle(a, b, vi{(2 * L + First)...});
}

// A step of x in the order in which a step of W is decoded.
template <class Math, class W, class X>
inline void step_like(vu words[], const X *x) {
  constexpr int V = WeightWords<Math, W>::kVectors;
  if constexpr (Math::kPerWord == 2 && std::is_same_v<X, e4m3>) {
    return WeightWords<Math, X>::template decode<true>(words, x);
  } else {
    vf in_order[V], out[V];
    for (int v = 0; v < V; ++v) in_order[v] = (vf)load_words<Math>(x + v * kLanes * Math::kPerWord);
    if constexpr (Math::kPerWord == 2 || V == 1) {
      std::memcpy(words, in_order, sizeof in_order);
      return;
    }
    for (int pass = 1; pass < V; pass *= 2) {
      for (int v = 0; v < V; v += 2) {
        out[v / 2] = every_second<0>(in_order[v], in_order[v + 1], Lanes{});
        out[v / 2 + V / 2] = every_second<1>(in_order[v], in_order[v + 1], Lanes{});
      }
      std::memcpy(in_order, out, sizeof out);
    }
    std::memcpy(words, in_order, sizeof in_order);
  }
}

// Asks for the `Bytes` that lie `ahead` bytes behind p, which nothing has to own.
template <int64_t Bytes>
inline void ask_ahead(const void *p, int64_t ahead) {
#pragma GCC unroll 8
  for (int64_t b = 0; b < Bytes; b += 64)
    __builtin_prefetch(reinterpret_cast<const void *>(reinterpret_cast<uintptr_t>(p) + uintptr_t(ahead + b)));
}

// The n elements of x that are left of a step, then zeros.
template <class Math, class W, class X>
inline void step_like(vu words[], const X *x, int64_t n) {
  constexpr int64_t kElements = kStepElements<Math, W>;
  X last[kElements] = {};
  if (n < kElements) x = static_cast<const X *>(std::memcpy(last, x, size_t(n) * sizeof(X)));
  step_like<Math, W>(words, x);
}

// to = the words of n elements, at most a block, filled up with zeros to a whole one.
template <class Math, class W>
inline void decode_block(uint32_t *to, const W *p, int64_t n) {
  constexpr int64_t kElements = kStepElements<Math, W>;
  constexpr int V = WeightWords<Math, W>::kVectors;
  const auto all = [&]<bool Any>(const W *from) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < kBlock; i += kElements) {
      vu words[V];
      WeightWords<Math, W>::template decode<Any>(words, from + i);
      std::memcpy(to + i / Math::kPerWord, words, sizeof words);
    }
  };
  if (plain_block(p, n)) return all.template operator()<false>(p);
  W last[kBlock] = {};
  all.template operator()<true>(static_cast<const W *>(std::memcpy(last, p, size_t(n) * sizeof(W))));
}

}  // namespace opswap::OPSWAP_ISA
