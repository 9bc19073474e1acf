// Runs kernels/gemm.h, right or with a seeded bug, on the emulator, and checks its product.
#include <cmath>
#include <vector>

#include "bugs/bug.h"
#include "emulator/convert.h"
#include "kernels/gemm.h"

namespace {

using namespace opswap::sm90;
using opswap::emu::bugs::Outcome;

// A block that is not full, and more steps than stages.
Outcome drive(uint64_t seed) {
  constexpr int kM = 120, kN = 72, kK = 320, kSteps = 5;
  opswap::emu::options().seed = seed;
  std::vector<uint16_t> a(kM * kK), b(kN * kK);
  auto value = [](size_t i, size_t salt) { return float(int((i * 131 + salt * 7919) % 61) - 30) / 16; };
  for (size_t i = 0; i < a.size(); ++i) a[i] = opswap::emu::float_to_bf16(value(i, 1));
  for (size_t i = 0; i < b.size(); ++i) b[i] = opswap::emu::float_to_bf16(value(i, 2));
  TensorMap maps[2];
  const void *data[] = {a.data(), b.data()};
  const uint64_t rows[] = {kM, kN};
  for (int i = 0; i < 2; ++i)
    encode(maps[i], {MapType::bf16, 2, data[i], {kK, rows[i]}, {kK * 2}, {64, 128}, MapSwizzle::b128});
  std::vector<float> c(size_t(kM) * kN, NAN);
  Outcome o;
  o.report = opswap::emu::launch({"gemm", {1, 1}, {GemmTile::kThreads}, sizeof(GemmTile)},
                                 gemm_example<MatrixType::bf16>, maps[0], maps[1], c.data(), kM, kN, kSteps);
  for (int i = 0; i < kM * kN && o.report && o.wrong.empty(); ++i) {
    double sum = 0;
    for (int k = 0; k < kK; ++k) sum += double(value(size_t(i / kN) * kK + k, 1)) * value(size_t(i % kN) * kK + k, 2);
    if (!(std::fabs(sum - c[size_t(i)]) < 1e-2)) o.wrong = "wrong result at row " + std::to_string(i / kN);
  }
  return o;
}

const opswap::emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
