// Runs kernels/tile.h, right or with a seeded bug, on the emulator, and checks its product and its bank conflicts.
#include <cmath>
#include <vector>

#include "bugs/bug.h"
#include "kernels/tile.h"

namespace {

using namespace opswap;
using namespace opswap::sm90;
using opswap::emu::bugs::Outcome;

Outcome drive(uint64_t seed) {
  constexpr int kM = 127, kK = 64, kN = 64;
  emu::options().seed = seed;
  alignas(128) static bf16 b[kN * kK], out[kM * kN];
  std::vector<bf16> a(kM * kK);
  std::vector<float> scale(kM);
  auto value = [](int i, int salt) { return float((i * 131 + salt * 79) % 61 - 30) / 16; };
  for (int i = 0; i < kM * kK; ++i) a[size_t(i)] = from_float<bf16>(value(i, 1));
  for (int i = 0; i < kN * kK; ++i) b[i] = from_float<bf16>(value(i, 2));
  for (int i = 0; i < kM; ++i) scale[size_t(i)] = 1 + float(i % 3);
  for (bf16 &o : out) o = {0x7fff};
  TensorMap map_b, map_out;
  encode(map_b, {MapType::bf16, 2, b, {kK, kN}, {kK * 2}, {64, 64}, MapSwizzle::b128});
  encode(map_out, {MapType::bf16, 2, out, {kN, kM}, {kN * 2}, {64, 64}, MapSwizzle::b128});
  Outcome o;
  o.report = emu::launch({"tile", {2}, {Tile64::kThreads}, sizeof(Tile64)}, tile_example, map_out,
                         static_cast<const bf16 *>(a.data()), map_b, static_cast<const float *>(scale.data()), kM);
  for (int i = 0; i < kM * kN && o.report && o.wrong.empty(); ++i) {
    double sum = 0;
    for (int k = 0; k < kK; ++k) sum += double(value(i / kN * kK + k, 1)) * value(i % kN * kK + k, 2);
    const double error = std::fabs(sum * scale[size_t(i / kN)] - to_float(out[i]));
    if (!(error < 0.02 * std::fabs(sum) + 0.5)) o.wrong = "wrong result at row " + std::to_string(i / kN);
  }
  emu::bugs::expect_at_most(o, "bank conflicts", 0, o.report.counters.bank_conflicts);
  return o;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
