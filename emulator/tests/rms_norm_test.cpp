// RMSNorm on the emulator against sums in double.
#include <random>
#include <vector>

#include "check.h"
#include "kernels/rms_norm.h"

using namespace opswap;

namespace {

template <class T>
void compare(int rows, int columns, double tolerance) {
  constexpr int kThreads = 256;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<T> x(size_t(rows) * columns), weight(columns), out(x.size());
  for (T &v : x) v = from_float<T>(normal(random));
  for (T &v : weight) v = from_float<T>(normal(random));
  const auto report = emu::launch({"rms_norm", {unsigned(rows)}, {kThreads}, 0}, rms_norm_example<T, kThreads>,
                                  out.data(), x.data(), weight.data(), columns, 1e-6f);
  EXPECT_CLEAN(report);
  double worst = 0;
  for (int r = 0; r < rows; ++r) {
    double squares = 0;
    for (int c = 0; c < columns; ++c) squares += std::pow(to_float(x[r * columns + c]), 2);
    for (int c = 0; c < columns; ++c) {
      const double want = to_float(x[r * columns + c]) / std::sqrt(squares / columns + 1e-6) * to_float(weight[c]);
      const double error = std::fabs(to_float(out[r * columns + c]) - want) / (std::fabs(want) + 1e-3);
      worst = emu::test::worse(worst, error);
    }
  }
  EXPECT(worst <= tolerance);
}

}  // namespace

CASE(rms_norm_of_every_type) {
  for (uint64_t seed = 0; seed < 2; ++seed) {
    emu::options().seed = seed;
    compare<bf16>(4, 4096, 0x1p-8);
    compare<fp16>(2, 1024, 0x1p-10);
    compare<float>(3, 520, 1e-5);
  }
}

CASE(unaligned_access_is_named) {
  std::vector<float> x(64, 1.0f);
  const auto report = emu::launch({"rms_norm", {1}, {256}, 0}, rms_norm_example<float, 256>, x.data(), x.data() + 1,
                                  x.data(), 8, 1e-6f);
  EXPECT_FOUND("an access of 16 bytes", report);
}

CASE(a_nan_becomes_the_one_nan_of_the_type) {
  for (const uint32_t bits : {0x7f800001u, 0x7fc12345u, 0xffffffffu}) {
    const float nan = std::bit_cast<float>(bits);
    EXPECT(from_float<bf16>(nan).bits == 0x7fff && from_float<fp16>(nan).bits == 0x7fff);
    EXPECT(from_float<e4m3>(nan).bits == 0x7f && from_float<e5m2>(nan).bits == 0x7f);
  }
}

CASE(eight_bit_types_round_to_even_and_saturate) {
  for (int code = 0; code < 256; ++code) {
    const float f = to_float(e4m3{uint8_t(code)}), g = to_float(e5m2{uint8_t(code)});
    if (!std::isnan(f)) EXPECT(from_float<e4m3>(f).bits == code);
    if (std::isfinite(g)) EXPECT(from_float<e5m2>(g).bits == code);
  }
  for (int code = 0; code < 0x7e; ++code) {  // half way between two neighbours goes to the even one
    const float middle = (to_float(e4m3{uint8_t(code)}) + to_float(e4m3{uint8_t(code + 1)})) / 2;
    EXPECT(from_float<e4m3>(middle).bits == code + (code & 1));
  }
  EXPECT(from_float<e4m3>(1e9f).bits == 0x7e && from_float<e4m3>(-INFINITY).bits == 0xfe);
  EXPECT(std::isnan(to_float(from_float<e4m3>(NAN))) && std::isnan(to_float(from_float<e5m2>(NAN))));
  EXPECT(from_float<e5m2>(1e9f).bits == 0x7b && from_float<fp16>(65519.0f).bits == 0x7bff &&
         from_float<fp16>(65520.0f).bits == 0x7c00);
  for (uint32_t code = 0; code < 0x7c00; ++code) EXPECT(from_float<fp16>(to_float(fp16{uint16_t(code)})).bits == code);
}
