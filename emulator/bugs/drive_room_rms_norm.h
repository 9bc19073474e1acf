// Runs the kernel of rms_norm/sm90.cu, as shipped or with a seeded bug, on the emulator, and checks its output.
#include "bugs/drive_room.h"
//
#include "rms_norm/sm90.cu"

namespace {

using namespace opswap;

// Blocks that walk over rows, in vectors or, where the input's first element does not allow them, one by one.
emu::bugs::Outcome run_rows(int columns, int first) {
  constexpr int kRows = 20;
  const size_t count = size_t(kRows) * size_t(columns);
  std::vector<bf16> x(count + size_t(first)), out(count, bf16{0x7fff}), weight(size_t(columns), from_float<bf16>(1.5f));
  for (size_t i = 0; i < x.size(); ++i) x[i] = from_float<bf16>(float(i % 37) - 18);
  const emu::DeviceTensor to(out.data(), DType::bfloat16, {kRows, columns});
  const emu::DeviceTensor from(x.data() + first, DType::bfloat16, {kRows, columns});
  const emu::DeviceTensor gain(weight.data(), DType::bfloat16, {columns});
  rms_norm_args a;
  a.out = to.tensor, a.input = from.tensor, a.weight = gain.tensor;
  a.epsilon = 1e-6, a.T = kRows, a.H = columns, a.scalar_dtype = DType::bfloat16;
  emu::bugs::Outcome o;
  const emu::Stream stream;
  emu::bugs::in_front(x), emu::bugs::in_front(out);
  OPSWAP_PASS::rms_norm_sm90(a, emu::bugs::one_sm());
  o.report = emu::room_report();
  for (int row = 0; row < kRows && o.report && o.wrong.empty(); ++row) {
    double squares = 0;
    for (int c = 0; c < columns; ++c) squares += std::pow(to_float(x[size_t(row * columns + c + first)]), 2);
    for (int c = 0; c < columns; ++c) {
      const size_t i = size_t(row * columns + c);
      const double want = to_float(x[i + size_t(first)]) / std::sqrt(squares / columns) * 1.5;
      if (!(std::fabs(to_float(out[i]) - want) <= std::fabs(want) * 0x1p-7))
        o.wrong = "wrong result at row " + std::to_string(row);
    }
  }
  return o;
}

emu::bugs::Outcome drive(uint64_t seed) {
  emu::options().seed = seed;
  // Rows of 8 lanes, of a warp and of two, several of each to a block; then elements one by one.
  for (const auto &[columns, first] : {std::pair{136, 0}, {520, 0}, {1544, 0}, {1104, 1}}) {
    emu::bugs::Outcome o = run_rows(columns, first);
    if (!o.report || !o.wrong.empty()) return o;
  }
  return {};
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
