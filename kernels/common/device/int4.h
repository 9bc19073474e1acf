// int4 codes, eight in a word, to Vec<T, 8> exactly: -8 to 7 have a value in each of these types. How checkpoints pack
// them (weights of one output row unless it says otherwise):
//   compressed-tensors pack-quantized, GPTQ   Int4::offset8, NibbleOrder::linear (GPTQ: along K of one column)
//   w4afp8 (SGLang, TensorRT-LLM)             Int4::signed4, NibbleOrder::linear: the even k is a byte's low half
//   AutoAWQ                                   Int4::offset8 with its zero points, NibbleOrder::pairs, of eight columns
//   Marlin                                    Int4::offset8, NibbleOrder::pairs: four of row n, then four of n + 8
#pragma once

#include "common/device/vec.h"

namespace opswap {

enum class Int4 {
  signed4,  // two's complement
  offset8,  // value + 8
};

// Which element nibble p (bits 4p to 4p + 3) holds.
enum class NibbleOrder {
  linear,  // p
  pairs,   // 0 2 4 6 1 3 5 7: elements 2i and 2i + 1 lie 16 bits apart, so that one mask leaves both in place
};

namespace device {

// Both halves of a word: 2^m + code, whose last bits are the code, less 2^m + 8.
#ifdef OPSWAP_EMULATE
inline uint32_t less(uint32_t x, uint32_t y, bf16) {
  const auto half = [](uint32_t a, uint32_t b) {
    return emu::float_to_bf16(emu::bf16_to_float(uint16_t(a)) - emu::bf16_to_float(uint16_t(b)));
  };
  return half(x, y) | uint32_t(half(x >> 16, y >> 16)) << 16;
}
inline uint32_t less(uint32_t x, uint32_t y, fp16) {
  const auto half = [](uint32_t a, uint32_t b) {
    return emu::float_to_fp16(emu::fp16_to_float(uint16_t(a)) - emu::fp16_to_float(uint16_t(b)));
  };
  return half(x, y) | uint32_t(half(x >> 16, y >> 16)) << 16;
}
#else
template <class Pair>
OPSWAP_DEVICE uint32_t pair_less(uint32_t x, uint32_t y) {
  Pair a, b;
  memcpy(&a, &x, sizeof x);
  memcpy(&b, &y, sizeof y);
  a = __hsub2(a, b);
  memcpy(&x, &a, sizeof x);
  return x;
}
OPSWAP_DEVICE uint32_t less(uint32_t x, uint32_t y, bf16) { return pair_less<__nv_bfloat162>(x, y); }
OPSWAP_DEVICE uint32_t less(uint32_t x, uint32_t y, fp16) { return pair_less<__half2>(x, y); }
#endif

// clang-format off
template <class T> struct Magic;
template <> struct Magic<bf16> { static constexpr uint32_t kBase = 0x43004300, kZero = 0x43084308; };  // 128, 136
template <> struct Magic<fp16> { static constexpr uint32_t kBase = 0x64006400, kZero = 0x64086408; };  // 1024, 1032
// clang-format on

// Nibbles 0 to 3 of `codes` (value + 8), a byte each, as e4m3: two tables of eight bytes, the upper one for value >= 0.
OPSWAP_DEVICE uint32_t four_e4m3(uint32_t codes) {
  const uint32_t select = codes & 0x7777;
  const uint32_t below = __byte_perm(0xcaccced0u, 0xb8c0c4c8u, select);
  const uint32_t above = __byte_perm(0x44403800u, 0x4e4c4a48u, select);
  const uint32_t spread = (codes & 8) | (codes & 0x80) << 4 | (codes & 0x800) << 8 | (codes & 0x8000) << 12;
  const uint32_t mask = (spread >> 3) * 0xffu;
  return (above & mask) | (below & ~mask);
}

}  // namespace device

template <class T, Int4 Code, NibbleOrder Order = NibbleOrder::linear>
OPSWAP_DEVICE Vec<T, 8> from_int4(uint32_t word) {
  if constexpr (Code == Int4::signed4) word ^= 0x88888888u;
  Vec<T, 8> v;
  if constexpr (sizeof(T) == 2) {
    uint32_t pair[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)  // elements 2i and 2i + 1, or i and i + 4
      pair[i] = device::less((word >> 4 * i & 0x000f000fu) | device::Magic<T>::kBase, device::Magic<T>::kZero, T{});
    if constexpr (Order == NibbleOrder::linear) {
      const uint32_t low[] = {__byte_perm(pair[0], pair[1], 0x5410), __byte_perm(pair[2], pair[3], 0x5410)};
      const uint32_t high[] = {__byte_perm(pair[0], pair[1], 0x7632), __byte_perm(pair[2], pair[3], 0x7632)};
      pair[0] = low[0], pair[1] = low[1], pair[2] = high[0], pair[3] = high[1];
    }
    memcpy(&v, pair, sizeof v);
  } else if constexpr (sizeof(T) == 1) {
    uint32_t four[] = {device::four_e4m3(word), device::four_e4m3(word >> 16)};
    if constexpr (Order == NibbleOrder::pairs) {
      const uint32_t first = __byte_perm(four[0], four[1], 0x5140);
      four[1] = __byte_perm(four[0], four[1], 0x7362), four[0] = first;
    }
    memcpy(&v, four, sizeof v);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int p = Order == NibbleOrder::linear ? i : i / 2 + i % 2 * 4;
      v[i] = T(int(word >> 4 * p & 15) - 8);
    }
  }
  return v;
}

}  // namespace opswap
