// The quotients of a scale are those of a division, to the last bit.
#include "common/device/divisor.h"

#include <random>

#include "check.h"

using namespace opswap;

namespace {

float of_bits(uint64_t bits) { return std::bit_cast<float>(uint32_t(bits)); }

// How many of `rounds` scales give a quotient that is not the division's.
int differing(int rounds, bool given, float (*scale_of)(std::mt19937 &), float (*x_of)(std::mt19937 &, float scale)) {
  std::mt19937 random(7);
  int wrong = 0;
  for (int round = 0; round < rounds; ++round) {
    const float scale = scale_of(random);
    const Divisor by(scale);
    for (int i = 0; i < 256; ++i) {
      Vec<float, 4> x;
      for (int k = 0; k < 4; ++k) x[k] = x_of(random, scale);
      const Vec<float, 4> q = by.quotients(x, given);
      for (int k = 0; k < 4; ++k)
        wrong += std::bit_cast<uint32_t>(q[k]) != std::bit_cast<uint32_t>(x[k] / scale) && !std::isnan(x[k] / scale);
    }
  }
  return wrong;
}

// A third of the mantissas all but full, where a rounded inverse is at its worst.
float any_scale(std::mt19937 &random) {
  const uint64_t mantissa = random() % 3 ? random() & 0x7fffff : 0x7fffff - random() % 4;
  return of_bits((127 - 59 + random() % 118) << 23 | mantissa);
}
float in_range(std::mt19937 &random, float scale) {
  const uint64_t sign = random() % 2 << 31, exponent = (127 - 20 + random() % 29) << 23;
  const float quotient = of_bits(sign | exponent | (random() & (random() % 2 ? 0x7fffff : 0x7f0000)));
  return random() % 16 ? quotient * scale : of_bits(sign);  // also 0 and -0
}

}  // namespace

CASE(quotients_are_those_of_a_division) { EXPECT(differing(2000, false, any_scale, in_range) == 0); }

CASE(an_unusual_scale_is_divided_by) {
  const auto unusual = [](std::mt19937 &random) {
    constexpr float kScales[] = {0.0f, INFINITY, 0x1p-140f, 0x1p-126f, 0x1p120f};
    return kScales[random() % 5];
  };
  const auto any = [](std::mt19937 &random, float) { return of_bits(random() & 0xbfffffff); };
  EXPECT(differing(200, false, unusual, any) == 0);
}

CASE(a_given_scale_may_be_far_from_its_elements) {
  const auto any = [](std::mt19937 &random, float) { return of_bits(random() & 0xff7fffff); };
  EXPECT(differing(500, true, any_scale, any) == 0);
}
