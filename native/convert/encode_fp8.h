// Blocks to e4m3 with a float32 scale each.
#pragma once

#include "convert/inspect.h"

namespace opswap::convert::OPSWAP_ISA {

// Takes the codes as lanes, before they are packed to bytes.
inline void add(Sums &sums, int part, vf y, vi code) {
  const vi size = code & 0x7f;
  // The bits of e4m3, moved to float32's place, are the value times 2^-120, subnormal codes too.
  const vf back = (vf)((vi)((vf)(size << 20) * 0x1p120f) | (code & 0x80) << 24), error = abs(y - back);
  sums.signal[part] += y * y;
  sums.noise[part] += error * error;
  sums.worst[part] = max(sums.worst[part], error);
  sums.zeros[part] -= magnitude(y) == 0;
  sums.empty[part] -= size == 0;
  sums.limit[part] -= size == 0x7e;
}

template <class E>
inline void encode_vector(const E *p, uint8_t *out, float scale, Sums &sums, int part) {
  const vf y = load(p) / scale;
  const vi code = e4m3_lanes<false>(y);
  const vb bytes = to_bytes(code);
  std::memcpy(out, &bytes, sizeof bytes);
  add(sums, part, y, code);
}

template <class E>
inline void encode_tail(const E *p, uint8_t *out, int64_t left, float scale, Sums &sums, int part) {
  const vf y = load_tail(p, left) / scale;
  const vi code = e4m3_lanes<false>(y);
  const vb bytes = to_bytes(code);
  std::memcpy(out, &bytes, size_t(left));
  add(sums, part, y, code);
  const vi absent = (lane_numbers() >= int32_t(left)) & 1;  // filled with 0, which is no element
  sums.zeros[part] -= absent;
  sums.empty[part] -= absent;
}

// The sums are a value of its own here, so that the compiler keeps them in registers: codes could alias anything else.
template <class E>
Sums encode(const E *p, uint8_t *out, Block b, float scale) {
  Sums sums;
  for (int64_t r = 0; r < b.rows; ++r, p += b.stride, out += b.stride) {
    int64_t c = 0;
    for (; c + kSums <= b.columns; c += kSums)
#pragma GCC unroll 4
      for (int part = 0; part < kParts; ++part)
        encode_vector(p + c + part * kLanes, out + c + part * kLanes, scale, sums, part);
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part, c += kLanes) {
      if (c + kLanes <= b.columns)
        encode_vector(p + c, out + c, scale, sums, part);
      else if (c < b.columns)
        encode_tail(p + c, out + c, b.columns - c, scale, sums, part);
    }
  }
  return sums;
}

// The same for a single element at column c.
inline void add_one(Sums &sums, int64_t c, float y, uint8_t code) {
  Sums one;
  add(one, 0, vf{} + y, vi{} + code);
  const int64_t part = c / kLanes % kParts, lane = c % kLanes;
  sums.signal[part][lane] += one.signal[0][0];
  sums.noise[part][lane] += one.noise[0][0];
  if (one.worst[0][0] > sums.worst[part][lane]) sums.worst[part][lane] = one.worst[0][0];
  sums.zeros[part][lane] += one.zeros[0][0];
  sums.empty[part][lane] += one.empty[0][0];
  sums.limit[part][lane] += one.limit[0][0];
}

// Non-finite elements become NaN codes; the sums are those of the others.
template <class E>
Sums encode_kept(const E *p, uint8_t *out, Block b, float scale) {
  Sums sums;
  for (int64_t r = 0; r < b.rows; ++r)
    for (int64_t c = 0; c < b.columns; ++c) {
      const float x = to_float(p[r * b.stride + c]);
      uint8_t &code = out[r * b.stride + c];
      code = uint8_t(0x7f | (std::bit_cast<uint32_t>(x) >> 31) << 7);
      if (!is_finite(x)) continue;
      code = from_float<e4m3>(x / scale).bits;
      add_one(sums, c, x / scale, code);
    }
  return sums;
}

inline void note(Stats &stats, const Sums &sums, float scale, int64_t elements) {
  const double s = scale;
  stats.signal += total<vf, double>(sums.signal) * s * s;
  stats.noise += total<vf, double>(sums.noise) * s * s;
  note_scale(stats, s, most(sums.worst) * s);
  count(stats, sums, elements);
  stats.zero_blocks += total<vi, int64_t>(sums.zeros) == elements;
}

template <class E>
void quantize_block(const Tile &tile, const E *p, uint8_t *codes, Block b, float amax, float *scale, Stats &stats) {
  *scale = (amax > kSmallestAmax ? amax : kSmallestAmax) / kLargestE4m3;
  const bool plain = tile.policy != Nonfinite::keep || amax_bits(p, b) < kInfinity;
  const Sums sums = plain ? encode(p, codes, b, *scale) : encode_kept(p, codes, b, *scale);
  note(stats, sums, *scale, b.rows * b.columns);
}

template <class E>
void quantize_fp8(const Tile &tile, const Scheme &scheme, const Output &out, const E *in, Stats &stats,
                  Nonfinites &found) {
  const bool whole = scheme.block_rows == 0;
  const int64_t rows = whole ? tile.rows : scheme.block_rows;
  const int64_t columns = scheme.block_columns == 0 ? tile.columns : scheme.block_columns;
  const int64_t before = found.count;
  bool inspected = false;
  for (int64_t r = 0; r < tile.rows; r += rows)
    for (int64_t c = 0; c < tile.columns; c += columns) {
      const Block b{tile.rows - r < rows ? tile.rows - r : rows,
                    tile.columns - c < columns ? tile.columns - c : columns, tile.columns};
      const int64_t at = r * tile.columns + c;
      const float own = amax_of(tile, in + at, b, inspected, found);
      if (found.count > before && tile.policy == Nonfinite::refuse) return;
      float unused, *scale = whole ? &unused : out.scales + r / rows * out.across + c / columns;
      quantize_block(tile, in + at, out.codes + at, b, whole ? out.amax : own, scale, stats);
    }
  if (tile.policy == Nonfinite::keep) stats.elements -= found.count - before;
}

}  // namespace opswap::convert::OPSWAP_ISA
