// Runs kernels/rms_norm.h, right or with a seeded bug, on the emulator, and checks its row and its sectors.
#include <cmath>
#include <vector>

#include "bugs/bug.h"
#include "kernels/rms_norm.h"

namespace {

using namespace opswap;
using opswap::emu::bugs::Outcome;

Outcome drive(uint64_t seed) {
  constexpr int kColumns = 1024, kThreads = 128;
  emu::options().seed = seed;
  std::vector<bf16> x(kColumns), weight(kColumns), out(kColumns, bf16{0x7fff});
  double squares = 0;
  for (int i = 0; i < kColumns; ++i) {
    x[size_t(i)] = from_float<bf16>(float(i % 37) - 18), weight[size_t(i)] = from_float<bf16>(float(i % 5) + 1);
    squares += std::pow(to_float(x[size_t(i)]), 2);
  }
  Outcome o;
  o.report = emu::launch({"rms_norm", {1}, {kThreads}, 0}, rms_norm_example<bf16, kThreads>, out.data(), x.data(),
                         weight.data(), kColumns, 1e-6f);
  for (int i = 0; i < kColumns && o.report && o.wrong.empty(); ++i) {
    const double want = to_float(x[size_t(i)]) / std::sqrt(squares / kColumns) * to_float(weight[size_t(i)]);
    if (!(std::fabs(to_float(out[size_t(i)]) - want) <= std::fabs(want) * 0x1p-7))
      o.wrong = "wrong result at column " + std::to_string(i);
  }
  // every access of a warp is a whole run: one sector more where the buffer does not start with one
  const auto &c = o.report.counters;
  emu::bugs::expect_at_most(o, "sectors read", c.load_bytes / 32 + 3 * 4 * 8, c.load_sectors);
  return o;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
