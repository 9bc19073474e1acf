// Runs kernels/cluster_sum.h, right or with a seeded bug, on the emulator, and checks its sums.
#include <cmath>
#include <vector>

#include "bugs/bug.h"
#include "kernels/cluster_sum.h"

namespace {

using namespace opswap;
using opswap::emu::bugs::Outcome;

// Every block of a cluster gives the sum of the cluster's row.
Outcome drive(uint64_t seed) {
  constexpr unsigned kRows = 3, kBlocks = 4;
  constexpr int kColumns = 100;
  emu::options().seed = seed;
  std::vector<float> x(size_t(kRows) * kBlocks * kColumns), out(kRows * kBlocks, NAN);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i * 7 % 37) - 18;
  Outcome o;
  o.report = emu::launch({"cluster_sum", {kRows * kBlocks}, {64}, 0, {kBlocks}}, cluster_sum_example, out.data(),
                         static_cast<const float *>(x.data()), kColumns);
  for (size_t i = 0; i < out.size() && o.report && o.wrong.empty(); ++i) {
    float want = 0;  // of integers, so exact in every order
    for (size_t k = 0; k < kBlocks * kColumns; ++k) want += x[i / kBlocks * kBlocks * kColumns + k];
    if (out[i] != want) o.wrong = "wrong result at row " + std::to_string(i / kBlocks);
  }
  return o;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
