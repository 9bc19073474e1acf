// Scores of a tile of keys on their way to probabilities, in the registers of a warpgroup: a thread holds two rows, of
// each two neighbouring keys out of eight. The softmax is kept up to date tile by tile: the largest score so far, the
// sum of the probabilities relative to it, and by how much earlier ones shrink when it grows.
#pragma once

#include "common/device/reduce.h"
#include "common/sm90/approx.h"
#include "common/sm90/wgmma.h"

namespace opswap {

inline constexpr int kRowLanes = 4;  // lanes that share a row
inline constexpr float kLog2E = 1.44269504088896340736f, kLn2 = 0.69314718055994530942f;

// A row's keys within a tile: [first, last) of it are seen.
struct SeenColumns {
  int first, last;
};

// The two rows of a thread.
struct SoftmaxRows {
  float most[2] = {-INFINITY, -INFINITY};  // as powers of two
  float total[2] = {0, 0};                 // of this thread's keys

  // Scores become probabilities; `shrink` is what sums of earlier tiles are multiplied by.
  template <int Held>
  OPSWAP_DEVICE void take(float (&s)[Held], float (&shrink)[2]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float now = most[row];
#pragma unroll
      for (int i = 0; i < Held; i += 4) now = fmaxf(now, fmaxf(s[i + 2 * row], s[i + 2 * row + 1]));
#pragma unroll
      for (int distance = kRowLanes / 2; distance > 0; distance /= 2)
        now = fmaxf(now, __shfl_xor_sync(device::kAllLanes, now, distance));
      const float from = now == -INFINITY ? 0 : now;  // where nothing was seen yet
      shrink[row] = sm90::exp2_approx(most[row] - from);
      most[row] = now;
      float sum = 0;
#pragma unroll
      for (int i = 0; i < Held; i += 4) {
        s[i + 2 * row] = sm90::exp2_approx(s[i + 2 * row] - from);
        s[i + 2 * row + 1] = sm90::exp2_approx(s[i + 2 * row + 1] - from);
        sum += s[i + 2 * row] + s[i + 2 * row + 1];
      }
      total[row] = total[row] * shrink[row] + sum;
    }
  }
  // The sums of all keys.
  OPSWAP_DEVICE void put_together() {
#pragma unroll
    for (int row = 0; row < 2; ++row) total[row] = warp_reduce<kRowLanes>(total[row], Sum{});
  }
  OPSWAP_DEVICE float lse(int row) const { return total[row] == 0 ? -INFINITY : most[row] * kLn2 + logf(total[row]); }
};

// Scores as powers of two. softcap * tanh(x / softcap) is softcap - 2 * softcap / (1 + e^(2x / softcap)), off by some
// 1e-7 of softcap.
template <int Held>
OPSWAP_DEVICE void scale_scores(float (&s)[Held], float softmax_scale, float softcap) {
  if (softcap > 0) {
    const float twice = 2 * kLog2E * softmax_scale / softcap, most = softcap * kLog2E;
#pragma unroll
    for (int i = 0; i < Held; ++i)
      s[i] = most - 2 * most * sm90::reciprocal_approx(1 + sm90::exp2_approx(s[i] * twice));
  } else {
    const float scale = softmax_scale * kLog2E;
#pragma unroll
    for (int i = 0; i < Held; ++i) s[i] *= scale;
  }
}
// Those of keys that a row does not see as -inf.
template <int Held>
OPSWAP_DEVICE void hide_scores(float (&s)[Held], const SeenColumns (&seen)[2], int lane) {
#pragma unroll
  for (int i = 0; i < Held; ++i) {
    const int column = i / 4 * 8 + lane % kRowLanes * 2 + i % 2, row = i / 2 % 2;
    if (column < seen[row].first || column >= seen[row].last) s[i] = -INFINITY;
  }
}

// Probabilities as wgmma's first operand, 16 keys after the other.
template <class T, int Held>
OPSWAP_DEVICE void pack_probabilities(uint32_t (&p)[Held / 8][4], const float (&s)[Held]) {
#pragma unroll
  for (int i = 0; i < Held; i += 2) {
    const Vec<T, 2> pair = from_float<T>(Vec<float, 2>{{s[i], s[i + 1]}});
    memcpy(&p[i / 8][i / 2 % 4], &pair, 4);
  }
}

}  // namespace opswap
