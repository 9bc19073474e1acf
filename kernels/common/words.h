// Arithmetic of the matrix loops, kept apart from their tiling: operands are 32-bit words, and a word is either one
// float32 or, where the CPU multiplies bf16 pairs, two neighbouring bf16 of the summed dimension.
#pragma once

#include "common/vec.h"

namespace opswap::OPSWAP_ISA {

struct Floats {
  static constexpr int kPerWord = 1;
  using Stored = float;  // one of the elements of a word
  static vf madd(vf acc, vu a, vu b) { return acc + (vf)a * (vf)b; }
};

#if defined(__AVX512F__)
struct Bf16Pairs {
  static constexpr int kPerWord = 2;
  using Stored = bf16_native;
  static vf madd(vf acc, vu a, vu b) { return (vf)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b); }
};
#endif

// Calls body(Math{}): pairs when both operands are bf16 and this CPU multiplies them, otherwise floats.
template <class A, class B, class Body>
inline auto with_math(Body &&body) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<A, bf16> && std::is_same_v<B, bf16>)
    if (bf16_usable()) return body(Bf16Pairs{});
#endif
  return body(Floats{});
}

// True when a row of T in memory already is a row of words.
template <class Math, class T>
constexpr bool is_words = sizeof(T) * Math::kPerWord == sizeof(uint32_t);

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
template <class Math>
constexpr int64_t words_of(int64_t elements) {
  return (elements + Math::kPerWord - 1) / Math::kPerWord;
}

// kLanes words from elements p[0..]; of the last ones only `n` elements exist and the rest are 0.
template <class Math, class T>
inline vu load_words(const T *p) {
  if constexpr (Math::kPerWord == 2) {
    vu words;
    std::memcpy(&words, p, sizeof words);
    return words;
  } else {
    return (vu)load(p);
  }
}
template <class Math, class T>
inline vu load_words(const T *p, int64_t n) {
  if (n >= kLanes * Math::kPerWord) return load_words<Math>(p);
  if constexpr (Math::kPerWord == 2) {
#if defined(__AVX512F__)
    return (vu)_mm512_maskz_loadu_epi16((1u << n) - 1, p);
#endif
  } else {
    return (vu)load_tail(p, n);
  }
}

// words[0..words_of(n)) = the elements, the last word filled up with 0.
template <class Math, class T>
inline void copy_words(uint32_t *words, const T *p, int64_t n) {
  constexpr int64_t kStep = kLanes * Math::kPerWord;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    const vu v = load_words<Math>(p + i);
    std::memcpy(words + i / Math::kPerWord, &v, sizeof v);
  }
  if (i < n) {
    const vu v = load_words<Math>(p + i, n - i);
    store_tail(reinterpret_cast<float *>(words + i / Math::kPerWord), (vf)v, words_of<Math>(n - i));
  }
}

}  // namespace opswap::OPSWAP_ISA
