// Looks through a tile for NaN and infinities, and for the largest finite magnitude.
#pragma once

#include <type_traits>

#include "convert/sums.h"

namespace opswap::convert::OPSWAP_ISA {

// Finds elements whose exponent bits are all set; e4m3 has only NaN, where the mantissa is as well.
template <class U>
void find(const Tile &tile, U mask, Nonfinites &found) {
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

inline void inspect(const Tile &tile, Nonfinites &found) {
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

inline bool is_finite(float x) { return (std::bit_cast<int32_t>(x) & 0x7fffffff) < kInfinity; }

struct Block {
  int64_t rows, columns, stride;
};

// Bits of the largest magnitude; not below kInfinity when something is not finite.
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
float finite_amax(const E *p, Block b) {
  float amax = 0;
  for (int64_t r = 0; r < b.rows; ++r)
    for (int64_t c = 0; c < b.columns; ++c)
      if (const float x = to_float(p[r * b.stride + c]); is_finite(x) && __builtin_fabsf(x) > amax)
        amax = __builtin_fabsf(x);
  return amax;
}

// The largest finite magnitude. Looks the tile through the first time that something in it is not finite.
template <class E>
float amax_of(const Tile &tile, const E *p, Block b, bool &inspected, Nonfinites &found) {
  int32_t top = amax_bits(p, b);
  if (top >= kInfinity && !inspected) {
    inspect(tile, found);
    inspected = true;
    top = amax_bits(p, b);
  }
  return top < kInfinity ? std::bit_cast<float>(top) : finite_amax(p, b);
}

// Calls run(pointer to the tile's first element), typed as what the tile holds.
template <class Run>
auto typed(const Tile &tile, Run &&run) {
  switch (tile.element) {
    case Element::bf16:
      return run(static_cast<const bf16 *>(tile.in));
    case Element::f16:
      return run(static_cast<const fp16 *>(tile.in));
    default:
      return run(static_cast<const float *>(tile.in));
  }
}

}  // namespace opswap::convert::OPSWAP_ISA
