// Runs kernels/norm_rows.h, right or with a seeded bug, on the emulator, and checks its rows.
#include <cmath>
#include <vector>

#include "bugs/bug.h"
#include "kernels/norm_rows.h"

namespace {

using namespace opswap;
using opswap::emu::bugs::Outcome;

// Fewer blocks than rows, and a last warp that is not full.
Outcome drive(uint64_t seed) {
  constexpr int kRows = 7, kColumns = 520;
  emu::options().seed = seed;
  std::vector<bf16> x(kRows * kColumns), weight(kColumns), out(x.size(), bf16{0x7fff});
  for (size_t i = 0; i < x.size(); ++i) x[i] = from_float<bf16>(float(i * 7 % 37) - 18);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = from_float<bf16>(float(i % 5) + 1);
  Outcome o;
  o.report = emu::launch({"norm_rows", {2}, {96}, 0}, norm_rows_example, out.data(), x.data(), weight.data(), kRows,
                         kColumns, 1e-6f);
  for (int i = 0; i < kRows * kColumns && o.report && o.wrong.empty(); ++i) {
    double squares = 0;
    for (int k = 0; k < kColumns; ++k) squares += std::pow(to_float(x[size_t(i / kColumns * kColumns + k)]), 2);
    const double gain = to_float(weight[size_t(i % kColumns)]);
    const double want = to_float(x[size_t(i)]) / std::sqrt(squares / kColumns) * gain;
    if (!(std::fabs(to_float(out[size_t(i)]) - want) <= std::fabs(want) * 0x1p-7))
      o.wrong = "wrong result at row " + std::to_string(i / kColumns);
  }
  return o;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
