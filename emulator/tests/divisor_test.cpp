// The quotients of a scale are those of a division, to the last bit.
#include "common/device/divisor.h"

#include <random>

#include "check.h"

using namespace opswap;

namespace {

float of_bits(uint64_t bits) { return std::bit_cast<float>(uint32_t(bits)); }

// To the last bit; which NaN it is does not count.
bool same(float a, float b) {
  return std::isnan(b) ? std::isnan(a) : std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

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
      for (int k = 0; k < 4; ++k) wrong += !same(q[k], x[k] / scale);
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
  return random() % 16 ? quotient * scale : random() % 4 ? of_bits(sign) : NAN;  // also 0 and -0
}

}  // namespace

// An e4m3 code is chosen by comparing the quotient Q with thresholds T = t / 16, 16 <= t < 32, times a power of two.
// The product is within 1.5 ulp of Q; its remainder is known to 2^-24 of itself and is divided by the scale with as
// large an error, so what is rounded last is within 1.5 * 2^-23 ulp of Q. Both quotients lie at the same side of T
// unless a midpoint T +- ulp / 2 is as near to Q as that. With the mantissas A and B of 24 bits, Q less the midpoint is
// (2^20 (16 A - t B) -+ B) / B in units of 2^-24, doubled A where A < B: the numerator is below 8 only where B is
// within 8 of a multiple of 2^20, and A the integer next to t B / 16. Those are all here, with many more around them.
// Below a power of two the midpoint is nearer, and the numerator 2^25 (A - B) + B is never small.
CASE(codes_are_those_of_a_division_wherever_they_could_differ) {
  int64_t compared = 0, other_quotients = 0, other_codes = 0;
  for (int64_t multiple = 8; multiple <= 16; ++multiple)
    for (int64_t b = (multiple << 20) - 64; b <= (multiple << 20) + 64; ++b) {
      if (b < 1 << 23 || b >= 1 << 24) continue;
      const Divisor by{float(b)};
      for (int64_t t = 16; t < 32; ++t)
        for (int64_t near = -4; near < 4; ++near) {
          const int64_t a = t * b / 16, step = a >> 24 ? 2 : 1;  // beyond 24 bits every second integer is a float
          const float x = float((a / step + near) * step), want = x / float(b);
          const float got = by.quotients(Vec<float, 1>{{x}}, false)[0];
          ++compared;
          other_quotients += got != want;
          for (const float scale : {0x1p-6f, 0x1p-3f, 1.0f, 0x1p7f})
            other_codes += from_float<e4m3>(got * scale).bits != from_float<e4m3>(want * scale).bits;
        }
    }
  EXPECT(compared > 100000);
  EXPECT(other_quotients == 0);
  EXPECT(other_codes == 0);
}

CASE(quotients_are_those_of_a_division) { EXPECT(differing(2000, false, any_scale, in_range) == 0); }

CASE(an_unusual_scale_is_divided_by) {
  const auto unusual = [](std::mt19937 &random) {
    constexpr float kScales[] = {0.0f, INFINITY, 0x1p-140f, 0x1p-126f, 0x1p120f};
    return kScales[random() % 5];
  };
  const auto any = [](std::mt19937 &random, float) {
    constexpr float kOdd[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN};  // 0 over 0 is NaN as well
    return random() % 8 ? of_bits(random() & 0xbfffffff) : kOdd[random() % 5];
  };
  EXPECT(differing(200, false, unusual, any) == 0);
}

CASE(a_given_scale_may_be_far_from_its_elements) {
  const auto any = [](std::mt19937 &random, float) { return of_bits(random() & 0xff7fffff); };
  EXPECT(differing(500, true, any_scale, any) == 0);
}
