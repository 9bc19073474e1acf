// e4m3 codes as pairs of bf16 where the CPU looks up 128 bytes at once (AVX512-VBMI): a code without its sign is the
// index of both bytes of its bf16, so that NaN, zero and subnormal codes cost nothing more than others.
#pragma once

#include "common/fp8_words.h"
#include "common/tile.h"

namespace opswap::OPSWAP_ISA {

// Calls body(Math{}) for queries of E and a cache of C. Pairs of codes need the lookup; without it floats do.
template <class E, class C, class Body>
inline auto with_cache_math(Body &&body) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<E, bf16> && std::is_same_v<C, e4m3>) {
    static const bool usable = bf16_usable() && __builtin_cpu_supports("avx512vbmi");
    if (!usable) return body(Floats{});
  }
#endif
  return with_math<E, E>(body);
}

#if defined(__AVX512F__)
// On functions of their own: elsewhere the compiler must not use what only some CPUs of this instruction set have.
#define OPSWAP_VBMI __attribute__((target("avx512vbmi")))

// Byte `Byte` of the bf16 of every code from 0 to 127.
template <int Byte>
alignas(64) constexpr auto kCodeBytes = [] {
  std::array<uint8_t, 128> bytes{};
  for (int code = 0; code < 128; ++code) {
    const float value = code == 127 ? __builtin_nanf("")
                        : code < 8  ? float(code) * 0x1p-9f
                                    : std::bit_cast<float>((code << 20) + (120 << 23));
    bytes[size_t(code)] = uint8_t(std::bit_cast<uint32_t>(value) >> (16 + 8 * Byte));
  }
  return bytes;
}();

// Low and high bytes of 64 codes' bf16.
struct CodeBytes {
  __m512i low, high;
};
OPSWAP_VBMI inline CodeBytes code_bytes(__m512i codes) {
  const auto find = [&](const uint8_t *table) OPSWAP_VBMI {
    return _mm512_permutex2var_epi8(_mm512_load_si512(table), codes, _mm512_load_si512(table + 64));
  };
  constexpr int kSelect = 0xf8;  // a | (b & c)
  const __m512i high =
      _mm512_ternarylogic_epi32(find(kCodeBytes<1>.data()), codes, _mm512_set1_epi8(char(0x80)), kSelect);
  return {find(kCodeBytes<0>.data()), high};
}

inline __mmask64 first_bytes(int64_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

// words[k][0..words_of(n)) = the n codes of keys[k], the last word filled up with 0; `stride` words lie between keys.
OPSWAP_VBMI inline void copy_codes(uint32_t *words, int64_t stride, const e4m3 *const keys[kLanes], int64_t n) {
  // Unpacking takes halves of each 16 bytes: those of the first vector are brought together before.
  const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  const auto pairs = [&](__m512i codes, __m512i &first, __m512i &second) OPSWAP_VBMI {
    const CodeBytes bytes = code_bytes(_mm512_permutexvar_epi64(order, codes));
    first = _mm512_unpacklo_epi8(bytes.low, bytes.high), second = _mm512_unpackhi_epi8(bytes.low, bytes.high);
  };
  const int64_t whole = n / 64 * 64, left = words_of<Bf16Pairs>(n - whole);
  const __mmask64 rest = first_bytes(n - whole), to = first_bytes(left);
  __m512i first, second;
  for (int k = 0; k < kLanes; ++k, words += stride) {
    for (int64_t i = 0; i < whole; i += 64) {
      pairs(_mm512_loadu_si512(keys[k] + i), first, second);
      _mm512_storeu_si512(words + i / 2, first), _mm512_storeu_si512(words + i / 2 + kLanes, second);
    }
    if (!rest) continue;
    pairs(_mm512_maskz_loadu_epi8(rest, keys[k] + whole), first, second);
    _mm512_mask_storeu_epi32(words + whole / 2, __mmask16(to), first);
    _mm512_mask_storeu_epi32(words + whole / 2 + kLanes, __mmask16(to >> 16), second);
  }
}

// words[v][l] = the codes of a and b in column v * kLanes + l, of which the first n are there.
OPSWAP_VBMI inline void codes_across(vu words[4], const e4m3 *a, const e4m3 *b, int64_t n) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __mmask64 mask = first_bytes(n);
  const CodeBytes x = code_bytes(_mm512_permutexvar_epi32(order, _mm512_maskz_loadu_epi8(mask, a)));
  const CodeBytes y = code_bytes(_mm512_permutexvar_epi32(order, _mm512_maskz_loadu_epi8(mask, b)));
  const __m512i x0 = _mm512_unpacklo_epi8(x.low, x.high), x1 = _mm512_unpackhi_epi8(x.low, x.high);
  const __m512i y0 = _mm512_unpacklo_epi8(y.low, y.high), y1 = _mm512_unpackhi_epi8(y.low, y.high);
  words[0] = (vu)_mm512_unpacklo_epi16(x0, y0), words[1] = (vu)_mm512_unpackhi_epi16(x0, y0);
  words[2] = (vu)_mm512_unpacklo_epi16(x1, y1), words[3] = (vu)_mm512_unpackhi_epi16(x1, y1);
}

// out[r][0 .. width) += sum over keys of the pairs p[r][key / 2] times the codes of two keys, for R rows.
// ahead(i, 2) is called once beside the keys i and i + 1.
template <int R, class Ahead>
OPSWAP_VBMI inline void add_codes(Out out, Rows p, const e4m3 *const *keys, int64_t count, int64_t width,
                                  const Ahead &ahead) {
  for (int64_t column = 0; column < width; column += 4 * kLanes) {
    vf acc[R][4] = {};
    const Out at = out.at(0, column);
    const int64_t left = width - column, vectors = left < 4 * kLanes ? (left + kLanes - 1) / kLanes : 4;
    for (int64_t i = 0; i < count; i += 2) {
      vu words[4];
      if (!column) ahead(i, 2);
      codes_across(words, keys[i] + column, keys[i + 1] + column, left);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        uint32_t word;
        std::memcpy(&word, p.data + r * p.stride + i * 2, sizeof word);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) acc[r][v] = Bf16Pairs::madd(acc[r][v], words[v], vu{} + word);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v)
        if (v < vectors) at.after(r, v, at.before(r, v) + acc[r][v]);
  }
}
#endif

}  // namespace opswap::OPSWAP_ISA
