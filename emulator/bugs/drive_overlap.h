// Runs kernels/overlap.h, right or with a seeded bug, on the emulator, and checks its sum of scaled products.
#include <cmath>
#include <vector>

#include "bugs/bug.h"
#include "emulator/convert.h"
#include "kernels/overlap.h"

namespace {

using namespace opswap::sm90;
using opswap::emu::bugs::Outcome;

Outcome drive(uint64_t seed) {
  constexpr int kRows = 64, kSteps = OverlapTile::kSteps, kK = kSteps * 64;
  opswap::emu::options().seed = seed;
  alignas(16) static uint16_t a[kRows * kK], b[kRows * kK];
  constexpr float kScale[kSteps] = {1, -0.5f, 3, 0.25f};
  auto value = [](int i, int salt) { return float((i * 131 + salt * 79) % 61 - 30) / 16; };
  for (int i = 0; i < kRows * kK; ++i) a[i] = opswap::emu::float_to_bf16(value(i, 1));
  for (int i = 0; i < kRows * kK; ++i) b[i] = opswap::emu::float_to_bf16(value(i, 2));
  TensorMap maps[2];
  for (int i = 0; i < 2; ++i)
    encode(maps[i], {MapType::bf16, 2, i ? b : a, {kK, kRows}, {kK * 2}, {64, 64}, MapSwizzle::b128});
  std::vector<float> out(kRows * kRows, NAN);
  Outcome o;
  o.report = opswap::emu::launch({"overlap", {1}, {OverlapTile::kThreads}, sizeof(OverlapTile)}, overlap_example,
                                 maps[0], maps[1], static_cast<const float *>(kScale), out.data());
  for (int i = 0; i < kRows * kRows && o.report && o.wrong.empty(); ++i) {
    double sum = 0;
    for (int k = 0; k < kK; ++k)
      sum += double(kScale[k / 64]) * value(i / kRows * kK + k, 1) * value(i % kRows * kK + k, 2);
    if (!(std::fabs(sum - out[size_t(i)]) < 1e-2)) o.wrong = "wrong result at row " + std::to_string(i / kRows);
  }
  return o;
}

const opswap::emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
