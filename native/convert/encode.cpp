// Blocks of 128 x 128 to e4m3 with a float32 scale each. Compiled once per instruction set, and bit-equal on all of
// them, statistics included: sums run over 16 lanes in one order, and nothing is contracted to a fused multiply-add.
#include "common/fp8.h"
#include "convert/decode.h"

namespace opswap::convert::OPSWAP_ISA {
namespace {

using namespace opswap::OPSWAP_ISA;

constexpr int kSums = 16;
constexpr int kParts = kSums / kLanes;
constexpr float kLargestCode = 448.0f, kSmallestAmax = 1e-12f;
constexpr int32_t kInfinity = 0x7f800000;

inline vi magnitude(vf x) { return (vi)x & 0x7fffffff; }

// What one block adds up, lane by lane, in units of its scale.
struct Sums {
  vf signal[kParts]{}, noise[kParts]{}, worst[kParts]{};
  vi zeros[kParts]{}, empty[kParts]{}, limit[kParts]{};
};

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

template <class V, class T>
T total(const V (&parts)[kParts]) {
  T all{};
  for (const V &part : parts)
    for (int lane = 0; lane < kLanes; ++lane) all += T(part[lane]);
  return all;
}

struct Block {
  int64_t rows, columns, stride;
};

template <class E>
int32_t amax_bits(const E *p, Block b) {
  vi top{};
  const auto raise = [&](vi m) { top = m > top ? m : top; };
  for (int64_t r = 0; r < b.rows; ++r, p += b.stride) {
    int64_t c = 0;
    for (; c + kLanes <= b.columns; c += kLanes) raise(magnitude(load(p + c)));
    if (c < b.columns) raise(magnitude(load_tail(p + c, b.columns - c)));
  }
  int32_t most = 0;
  for (int lane = 0; lane < kLanes; ++lane) most = top[lane] > most ? top[lane] : most;
  return most;
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

// Non-finite elements become NaN codes; the scale and the sums are those of the others.
template <class E>
float encode_kept(const E *p, uint8_t *out, Block b, Sums &sums) {
  float amax = kSmallestAmax;
  const auto finite = [](float x) { return (std::bit_cast<int32_t>(x) & 0x7fffffff) < kInfinity; };
  for (int64_t r = 0; r < b.rows; ++r)
    for (int64_t c = 0; c < b.columns; ++c)
      if (const float x = to_float(p[r * b.stride + c]); finite(x) && __builtin_fabsf(x) > amax)
        amax = __builtin_fabsf(x);
  const float scale = amax / kLargestCode;
  for (int64_t r = 0; r < b.rows; ++r)
    for (int64_t c = 0; c < b.columns; ++c) {
      const float x = to_float(p[r * b.stride + c]);
      uint8_t &code = out[r * b.stride + c];
      code = uint8_t(0x7f | (std::bit_cast<uint32_t>(x) >> 31) << 7);
      if (!finite(x)) continue;
      code = from_float<e4m3>(x / scale).bits;
      add_one(sums, c, x / scale, code);
    }
  return scale;
}

// Finds elements whose exponent bits are all set; e4m3 has only NaN, where the mantissa is as well.
template <class U>
void find(const Tile &tile, U mask, Found &found) {
  U *p = static_cast<U *>(tile.in);
  const int64_t n = tile.rows * tile.columns;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += (p[i] & mask) == mask;
  if (count == 0) return;
  int64_t first = 0;
  while ((p[first] & mask) != mask) ++first;
  if (found.count == 0) {
    found.row = first / tile.columns;
    found.column = first % tile.columns;
  }
  found.count += count;
  if (tile.policy != Nonfinite::zero) return;
  for (int64_t i = first; i < n; ++i)
    if ((p[i] & mask) == mask) p[i] = 0;
}

void inspect(const Tile &tile, Found &found) {
  switch (tile.element) {
    case Element::bf16:
      return find<uint16_t>(tile, 0x7f80, found);
    case Element::f16:
      return find<uint16_t>(tile, 0x7c00, found);
    case Element::f32:
      return find<uint32_t>(tile, 0x7f800000, found);
    case Element::f64:
      return find<uint64_t>(tile, 0x7ff0000000000000, found);
    case Element::e5m2:
      return find<uint8_t>(tile, 0x7c, found);
    case Element::e4m3:
      return find<uint8_t>(tile, 0x7f, found);
    default:
      return;
  }
}

void note(Stats &stats, const Sums &sums, float scale, int64_t elements, bool first) {
  const double s = scale;
  stats.signal += total<vf, double>(sums.signal) * s * s;
  stats.noise += total<vf, double>(sums.noise) * s * s;
  float worst = 0;
  for (const vf &part : sums.worst) worst = max_lane(part) > worst ? max_lane(part) : worst;
  stats.largest_error = worst * s > stats.largest_error ? worst * s : stats.largest_error;
  stats.smallest_scale = first || s < stats.smallest_scale ? s : stats.smallest_scale;
  stats.largest_scale = first || s > stats.largest_scale ? s : stats.largest_scale;
  const int64_t zeros = total<vi, int64_t>(sums.zeros);
  stats.elements += elements;
  stats.zeros += zeros;
  stats.flushed += total<vi, int64_t>(sums.empty) - zeros;
  stats.at_limit += total<vi, int64_t>(sums.limit);
  stats.zero_blocks += zeros == elements;
}

template <class E>
void quantize(const Tile &tile, uint8_t *codes, float *scales, Stats &stats, Found &found) {
  const int64_t before = found.count;
  bool inspected = false;
  for (int64_t c = 0; c < tile.columns; c += kBlock) {
    const Block block{tile.rows, tile.columns - c < kBlock ? tile.columns - c : kBlock, tile.columns};
    const E *p = static_cast<const E *>(tile.in) + c;
    int32_t top = amax_bits(p, block);
    if (top >= kInfinity && !inspected) {
      inspect(tile, found);
      inspected = true;
      if (tile.policy == Nonfinite::refuse) return;
      top = amax_bits(p, block);
    }
    Sums sums;
    float &scale = scales[c / kBlock];
    if (top < kInfinity) {
      const float amax = std::bit_cast<float>(top);
      scale = (amax > kSmallestAmax ? amax : kSmallestAmax) / kLargestCode;
      sums = encode(p, codes + c, block, scale);
    } else {
      scale = encode_kept(p, codes + c, block, sums);
    }
    note(stats, sums, scale, block.rows * block.columns, stats.elements == 0);
  }
  if (tile.policy == Nonfinite::keep) stats.elements -= found.count - before;
}

void quantize_fp8(const Tile &tile, uint8_t *codes, float *scales, Stats &stats, Found &found) {
  switch (tile.element) {
    case Element::bf16:
      return quantize<bf16>(tile, codes, scales, stats, found);
    case Element::f16:
      return quantize<fp16>(tile, codes, scales, stats, found);
    default:
      return quantize<float>(tile, codes, scales, stats, found);
  }
}

}  // namespace

extern const Pass kPass;
const Pass kPass = {OPSWAP_ISA_NAME, quantize_fp8, inspect, decode, round_bf16};

}  // namespace opswap::convert::OPSWAP_ISA
