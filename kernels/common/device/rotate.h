// Pairs of features that a rotary embedding turns, N at a time in one thread.
#pragma once

#include "common/device/access.h"

namespace opswap::device {

template <int N>
struct Pairs {
  Vec<float, N> first, second;
};

// The two lie side by side in memory: one access of both. Alone, the features of a pair are reached one by one.
template <bool Neox, int N>
inline constexpr bool kTogether = !Neox && N > 1;

// Features that a thread's accesses are made of.
template <bool Neox, int N>
inline constexpr int kRun = kTogether<Neox, N> ? 2 * N : N;

template <bool Neox, int N, class T>
OPSWAP_DEVICE Pairs<N> load_pairs(const T *first, const T *second) {
  if constexpr (kTogether<Neox, N>) {
    const Vec<float, 2 * N> both = load_floats<2 * N>(first);
    Pairs<N> x;
#pragma unroll
    for (int i = 0; i < N; ++i) x.first[i] = both[2 * i], x.second[i] = both[2 * i + 1];
    return x;
  } else {
    return {load_floats<N>(first), load_floats<N>(second)};
  }
}

template <int N>
OPSWAP_DEVICE Vec<float, 2 * N> woven(const Pairs<N> &x) {
  Vec<float, 2 * N> both;
#pragma unroll
  for (int i = 0; i < N; ++i) both[2 * i] = x.first[i], both[2 * i + 1] = x.second[i];
  return both;
}

// `angle` holds cosines and sines.
template <int N>
OPSWAP_DEVICE Pairs<N> rotated(const Pairs<N> &x, const Pairs<N> &angle) {
  Pairs<N> out;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    out.first[i] = x.first[i] * angle.first[i] - x.second[i] * angle.second[i];
    out.second[i] = x.second[i] * angle.first[i] + x.first[i] * angle.second[i];
  }
  return out;
}

// Pairs that suit 16-byte accesses to T.
template <bool Neox, class T>
inline constexpr int kWidePairs = int(kWidest / sizeof(T)) / (Neox ? 1 : 2);

}  // namespace opswap::device
