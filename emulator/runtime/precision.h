// Sums of products: in float32, and of FP8 as Hopper's tensor cores are reported to add them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace opswap::emu {

using Four = float __attribute__((vector_size(16)));

// sum[n] = the products of a row with column n of b; n counts in eights, as shapes of wgmma do.
inline void multiply_row(float *sum, const float *row, const float *b, int elements, int n) {
  auto *fours = reinterpret_cast<Four *>(sum);
  std::fill_n(fours, n / 4, Four{});
  for (int k = 0; k < elements; ++k) {
    const auto *column = reinterpret_cast<const Four *>(b + k * 256);
    for (int i = 0; i < n / 4; ++i) fours[i] += row[k] * column[i];
  }
}

// DeepSeek-V3's report, section 3.3.2: the products of an instruction and what is there so far are shifted to the
// largest exponent among them, and of each only the upper 14 bits are kept.
inline float add_as_hopper(float so_far, const float *products, int count) {
  constexpr int kBits = 14;
  float largest = std::fabs(so_far), plain = so_far;
  for (int i = 0; i < count; ++i) largest = std::fmax(largest, std::fabs(products[i])), plain += products[i];
  if (largest == 0 || !std::isfinite(plain)) return plain;
  const double unit = std::ldexp(1.0, std::ilogb(largest) + 1 - kBits);
  int64_t sum = int64_t(double(so_far) / unit);  // cut off, not rounded
  for (int i = 0; i < count; ++i) sum += int64_t(double(products[i]) / unit);
  return float(double(sum) * unit);
}

}  // namespace opswap::emu
