// The approximations: special values, and errors that stay within the stated bounds and are not all 0.
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "kernels/wrap_math.h"

namespace opswap::emu::test {
namespace {

struct Approximated {
  std::vector<float> powers, reciprocals;
  explicit Approximated(std::vector<float> in) : powers(in.size()), reciprocals(in.size()) {
    const unsigned count = unsigned(in.size());
    EXPECT_CLEAN(launch({"kernel", (count + 255) / 256, 256}, sm90::wrap_approx, powers.data(), reciprocals.data(),
                        in.data(), int(count)));
  }
};

// In units of the last place of the float at `exact`, which is normal.
double units(float got, double exact) {
  int exponent;
  std::frexp(exact, &exponent);
  return std::fabs(double(got) - exact) / std::ldexp(1.0, exponent - 24);
}

bool same(float a, float b) { return (a != a && b != b) || (a == b && std::signbit(a) == std::signbit(b)); }

}  // namespace

CASE(wrap_approximations_of_special_values) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kLeast = std::numeric_limits<float>::denorm_min();
  const std::vector<float> in = {0.0f,    -0.0f,   kInf,    -kInf,  kNan,   kLeast,   -kLeast, 1.0f,
                                 -126.0f, -127.0f, -150.0f, 127.0f, 128.0f, 0x1p127f, -4.0f,   0x1p126f};
  const float powers[] = {1, 1, kInf, 0, kNan, 1, 1, 2, 0x1p-126f, 0, 0, 0x1p127f, kInf, kInf, 0x1p-4f, kInf};
  const float reciprocals[] = {kInf, -kInf, 0, -0.0f, kNan, kInf, -kInf, 1};
  const Approximated got(in);
  for (size_t i = 0; i < in.size(); ++i) EXPECT(same(got.powers[i], powers[i]));
  for (size_t i = 0; i < std::size(reciprocals); ++i) EXPECT(same(got.reciprocals[i], reciprocals[i]));
  EXPECT(same(got.reciprocals[13], 0.0f));  // 2^-127 is subnormal
  EXPECT(same(got.reciprocals[14], -0.25f) && same(got.reciprocals[15], 0x1p-126f));
}

CASE(wrap_approximations_within_their_bounds) {
  std::vector<float> in;
  for (int i = -4000; i < 4000; ++i) in.push_back(float(i) * 0.031f + 0.0007f);
  const Approximated got(in);
  double power = 0, reciprocal = 0;
  for (size_t i = 0; i < in.size(); ++i) {
    power = worse(power, units(got.powers[i], std::exp2(double(in[i]))));
    reciprocal = worse(reciprocal, units(got.reciprocals[i], 1 / double(in[i])));
  }
  EXPECT(power <= 2 && power > 0.5);
  EXPECT(reciprocal <= 1 && reciprocal > 0.5);
}

// Codes written down from the format: sign, 4 bits of exponent with bias 7, 3 bits of mantissa; 0x7f is NaN.
CASE(wrap_codes_of_four_floats) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> in = {1, -2, 448, 1000, kNan, 0, -0.0f, 0x1p-9f, 1.0625f, 1.1875f, 0.875f, -300};
  std::vector<uint32_t> words(in.size() / 4);
  EXPECT_CLEAN(launch({"kernel", 1, unsigned(words.size())}, sm90::wrap_codes, words.data(), in.data()));
  EXPECT(words[0] == 0x7e7ec038u);
  EXPECT((words[1] & 0xffffff7fu) == 0x0180007fu);
  EXPECT(words[2] == 0xf9363a38u);
}

}  // namespace opswap::emu::test
