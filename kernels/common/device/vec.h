// The vec layer of kernels: N elements in one access of 1 to 16 bytes, and their conversions in bulk. `load` and
// `store` are of global memory, `load_shared` and `store_shared` of shared memory.
#pragma once

#include <type_traits>

#include "common/device/scalar.h"
#include "common/sm90/global.h"
#include "common/sm90/shared.h"

namespace opswap {

template <class T, int N>
struct Vec {
  T at[N];
  OPSWAP_DEVICE T &operator[](int i) { return at[i]; }
  OPSWAP_DEVICE const T &operator[](int i) const { return at[i]; }
};

namespace device {

// clang-format off
template <int Bytes> struct WordOf;
template <> struct WordOf<1> { using type = uint8_t; };
template <> struct WordOf<2> { using type = uint16_t; };
template <> struct WordOf<4> { using type = uint32_t; };
template <> struct WordOf<8> { using type = uint2; };
template <> struct WordOf<16> { using type = uint4; };
// clang-format on

}  // namespace device

template <int N, class T>
OPSWAP_DEVICE Vec<T, N> load(const T *p) {
  using Word = typename device::WordOf<int(N * sizeof(T))>::type;
  const Word word = sm90::global_load(reinterpret_cast<const Word *>(p));
  Vec<T, N> v;
  memcpy(&v, &word, sizeof v);
  return v;
}

template <class T, int N>
OPSWAP_DEVICE void store(T *p, const Vec<T, N> &v) {
  using Word = typename device::WordOf<int(N * sizeof(T))>::type;
  Word word;
  memcpy(&word, &v, sizeof v);
  sm90::global_store(reinterpret_cast<Word *>(p), word);
}

template <int N, class T>
OPSWAP_DEVICE Vec<T, N> load_shared(const T *p) {
  using Word = typename device::WordOf<int(N * sizeof(T))>::type;
  const Word word = sm90::shared_load(reinterpret_cast<const Word *>(p));
  Vec<T, N> v;
  memcpy(&v, &word, sizeof v);
  return v;
}

template <class T, int N>
OPSWAP_DEVICE void store_shared(T *p, const Vec<T, N> &v) {
  using Word = typename device::WordOf<int(N * sizeof(T))>::type;
  Word word;
  memcpy(&word, &v, sizeof v);
  sm90::shared_store(reinterpret_cast<Word *>(p), word);
}

template <class T, int N>
OPSWAP_DEVICE Vec<float, N> to_float(const Vec<T, N> &v) {
  Vec<float, N> f;
  if constexpr (std::is_same_v<T, e4m3> && N % 2 == 0) {  // one instruction converts two
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const float2 pair = to_floats(uint16_t(v[i].bits | v[i + 1].bits << 8));
      f[i] = pair.x, f[i + 1] = pair.y;
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) f[i] = to_float(v[i]);
  }
  return f;
}

template <class T, int N>
OPSWAP_DEVICE Vec<T, N> from_float(const Vec<float, N> &f) {
  Vec<T, N> v;
  if constexpr (std::is_same_v<T, e4m3> && N % 2 == 0) {  // one instruction converts two
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const uint16_t pair = e4m3_pair(f[i], f[i + 1]);
      v[i] = {uint8_t(pair)};
      v[i + 1] = {uint8_t(pair >> 8)};
    }
  } else if constexpr ((std::is_same_v<T, bf16> || std::is_same_v<T, fp16>) && N % 2 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const uint32_t pair = wide_pair<T>(f[i], f[i + 1]);
      memcpy(&v[i], &pair, 4);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] = from_float<T>(f[i]);
  }
  return v;
}

// As many elements of the widest type as one access holds.
template <class... T>
inline constexpr int kVecOf = [] {
  int bytes = 1;
  ((bytes = bytes < int(sizeof(T)) ? int(sizeof(T)) : bytes), ...);
  return 16 / bytes;
}();

}  // namespace opswap
