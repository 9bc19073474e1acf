// Scores of a tile of keys on their way to probabilities, in the registers of a warpgroup: a thread holds two rows, of
// each two neighbouring keys out of eight. The softmax is kept up to date tile by tile: the largest score so far, the
// sum of the probabilities relative to it, and by how much earlier ones shrink when it grows.
#pragma once

#include "common/device/reduce.h"
#include "common/sm90/approx.h"
#include "common/sm90/codes.h"
#include "common/sm90/wgmma.h"

namespace opswap {

inline constexpr int kRowLanes = 4;  // lanes that share a row
inline constexpr float kLog2E = 1.44269504088896340736f, kLn2 = 0.69314718055994530942f;

// A row's keys within a tile: [first, last) of it are seen.
struct SeenColumns {
  int first, last;
};

// What a thread keeps of its two rows: probabilities are relative to 2^most.
struct SoftmaxState {
  float most[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};  // of this thread's keys
  float sunk[2] = {1, 1};   // what sums are multiplied by for the sink

  // The sums of all keys, and of a row's sink, a score as it is.
  OPSWAP_DEVICE void put_together(const float (&sink)[2]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      total[row] = warp_reduce<kRowLanes>(total[row], Sum{});
      if (sink[row] == -INFINITY) continue;
      const float with = fmaxf(most[row], sink[row] * kLog2E);
      total[row] = total[row] * sm90::exp2_approx(most[row] - with) + sm90::exp2_approx(sink[row] * kLog2E - with);
      sunk[row] = sm90::exp2_approx(most[row] - with);
      most[row] = with;
    }
  }
  OPSWAP_DEVICE float share(int row) const { return total[row] == 0 ? 0 : sunk[row] / total[row]; }
  OPSWAP_DEVICE float lse(int row) const { return total[row] == 0 ? -INFINITY : most[row] * kLn2 + logf(total[row]); }
};

// The largest number of the lanes that share a row.
OPSWAP_DEVICE float largest_of_row(float now) {
#pragma unroll
  for (int distance = kRowLanes / 2; distance > 0; distance /= 2)
    now = fmaxf(now, __shfl_xor_sync(device::kAllLanes, now, distance));
  return now;
}
// The largest of a row's scores of a tile and of `now`, the same for the lanes that share the row.
template <int Held>
OPSWAP_DEVICE float largest_score(const float (&s)[Held], int row, float now) {
#pragma unroll
  for (int i = 0; i < Held; i += 4) now = fmaxf(now, fmaxf(s[i + 2 * row], s[i + 2 * row + 1]));
  return largest_of_row(now);
}
// A row's scores become exponents of two, scale * score - from; the largest of those above 0, or 0: numbers above 0 are
// in the order of their bits, of which one instruction compares three.
template <int Held>
OPSWAP_DEVICE float exponents(float (&s)[Held], int row, float scale, float from) {
  int top = 0;
#pragma unroll
  for (int i = 2 * row; i < Held; i += 4) {
    s[i] = fmaf(s[i], scale, -from), s[i + 1] = fmaf(s[i + 1], scale, -from);
    top = std::max(std::max(int(__float_as_uint(s[i])), int(__float_as_uint(s[i + 1]))), top);
  }
  return __uint_as_float(uint32_t(top));
}
// A row's exponents become powers of two; their sum.
template <int Held>
OPSWAP_DEVICE float powers(float (&s)[Held], int row) {
  float sum = 0;
#pragma unroll
  for (int i = 2 * row; i < Held; i += 4) {
    s[i] = sm90::exp2_approx(s[i]), s[i + 1] = sm90::exp2_approx(s[i + 1]);
    sum = i < 4 ? s[i] + s[i + 1] : sum + (s[i] + s[i + 1]);
  }
  return sum;
}
// A row's scores become probabilities, 2^(scale * score - from); their sum.
template <int Held>
OPSWAP_DEVICE float exponentials(float (&s)[Held], int row, float scale, float from) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Held; i += 4) {
    s[i + 2 * row] = sm90::exp2_approx(fmaf(s[i + 2 * row], scale, -from));
    s[i + 2 * row + 1] = sm90::exp2_approx(fmaf(s[i + 2 * row + 1], scale, -from));
    sum += s[i + 2 * row] + s[i + 2 * row + 1];
  }
  return sum;
}

// Scores times `scale`, which is above 0, are powers of two. While tiles are taken `most` is not yet times the scale.
struct SoftmaxRows : SoftmaxState {
  float scale;
  OPSWAP_DEVICE explicit SoftmaxRows(float scale_of_scores) : scale(scale_of_scores) {}

  // Scores become probabilities; `shrink` is what sums of earlier tiles are multiplied by. With `Seeing` each row sees
  // some of the keys, and did so before. values() comes where the last tile's values have to be there.
  template <bool Seeing, int Held, class Values>
  OPSWAP_DEVICE void take(float (&s)[Held], float (&shrink)[2], Values &&values) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const float now = largest_score(s, row, most[row]);
      const float from = !Seeing && now == -INFINITY ? 0 : now * scale;  // where nothing was seen yet
      shrink[row] = sm90::exp2_approx(most[row] * scale - from);
      most[row] = now;
      total[row] = total[row] * shrink[row] + exponentials(s, row, scale, from);
    }
    values();
  }
  OPSWAP_DEVICE void settle() { most[0] *= scale, most[1] *= scale; }
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
// A thread holds two neighbouring columns out of eight: bits for those of them in front of `column`, 32 to a word.
template <int Words>
OPSWAP_DEVICE Vec<uint32_t, Words> columns_before(int column) {
  const int count = (column >> 3) * 2 + std::min(column & 7, 2);
  Vec<uint32_t, Words> bits;
#pragma unroll
  for (int i = 0; i < Words; ++i)
    bits[i] = ~uint32_t(uint64_t{0xffffffff} << std::min(std::max(count - i * 32, 0), 32));
  return bits;
}
// Those of keys that a row does not see as -inf. Bits become predicates many at a time.
template <int Held>
OPSWAP_DEVICE void hide_scores(float (&s)[Held], const SeenColumns (&seen)[2], int lane) {
  constexpr int kWords = (Held / 2 + 31) / 32;
  const int own = lane % kRowLanes * 2;
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const auto before = columns_before<kWords>(seen[row].first - own),
               to = columns_before<kWords>(seen[row].last - own);
#pragma unroll
    for (int i = 0; i < Held / 2; ++i)
      if (!((to[i / 32] & ~before[i / 32]) >> i % 32 & 1)) s[i / 2 * 4 + 2 * row + i % 2] = -INFINITY;
  }
}
// Each key's times a factor of its own.
template <int Held>
OPSWAP_DEVICE void scale_columns(float (&s)[Held], const float *factors, int lane) {
#pragma unroll
  for (int i = 0; i < Held; i += 4) {
    const Vec<float, 2> by = load_shared<2>(factors + i / 4 * 8 + lane % kRowLanes * 2);
#pragma unroll
    for (int j = 0; j < 4; ++j) s[i + j] *= by[j % 2];
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

// Probabilities as codes, 32 keys after the other: those of each 16 in the order of interleaved values.
template <int Held>
OPSWAP_DEVICE void pack_codes(uint32_t (&p)[Held / 16][4], const float (&s)[Held]) {
#pragma unroll
  for (int i = 0; i < Held / 16; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float *const from = s + i * 16 + j / 2 * 8 + j % 2 * 2;
      p[i][j] = sm90::e4m3_word(from[0], from[1], from[4], from[5]);
    }
}

}  // namespace opswap
