// Sums of FP8 products as Hopper's tensor cores are reported to add them (DeepSeek-V3's report, section 3.3.2): the
// products of an instruction and what is there so far are shifted to the largest exponent among them, and of each only
// the upper 14 bits are kept.
#pragma once

#include <cmath>
#include <cstdint>

namespace opswap::emu {

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
