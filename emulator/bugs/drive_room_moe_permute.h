// Runs the kernels of moe_permute/sm90.cu, as shipped or with a seeded bug, on the emulator, and checks their output.
#include "bugs/drive_room.h"
//
#include "moe_permute/sm90.cu"

namespace {

using namespace opswap;

// Some choices are left out.
template <int kTokens>
emu::bugs::Outcome run_tokens() {
  constexpr int kChosen = 3, kExperts = 5, kColumns = 16, kRows = kTokens * kChosen;
  std::vector<int32_t> ids(kTokens * kChosen), first(kExperts + 1, -7), row_of(kTokens * kChosen, -7);
  std::vector<bf16> x(kTokens * kColumns), out(size_t(kRows) * kColumns, bf16{0x7fff});
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = i % 7 == 3 ? -1 : int32_t((i * i + i / 3) % kExperts);
  for (size_t i = 0; i < x.size(); ++i) x[i] = from_float<bf16>(float(i / kColumns % 256 + 1));
  const emu::DeviceTensor permuted(out.data(), DType::bfloat16, {kRows, kColumns});
  const emu::DeviceTensor starts(first.data(), DType::int32, {kExperts + 1});
  const emu::DeviceTensor rows(row_of.data(), DType::int32, {kTokens, kChosen});
  const emu::DeviceTensor input(x.data(), DType::bfloat16, {kTokens, kColumns});
  const emu::DeviceTensor choices(ids.data(), DType::int32, {kTokens, kChosen});
  moe_permute_args a;
  a.permuted = permuted.tensor, a.expert_first_row = starts.tensor, a.row_of = rows.tensor;
  a.input = input.tensor, a.topk_ids = choices.tensor, a.alignment = 1;
  a.R = kRows, a.H = kColumns, a.F = kExperts + 1, a.T = kTokens, a.K = kChosen;
  a.scalar_dtype = DType::bfloat16, a.index_dtype = DType::int32;
  emu::bugs::Outcome o;
  const emu::Stream stream;
  emu::bugs::in_front(ids), emu::bugs::in_front(x), emu::bugs::in_front(out), emu::bugs::in_front(first);
  OPSWAP_PASS::moe_permute_sm90(a, emu::bugs::one_sm());
  o.report = emu::room_report();
  int row = 0;
  for (int e = 0; e < kExperts && o.report && o.wrong.empty(); ++e)
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] != e) continue;
      if (row_of[i] != row || to_float(out[size_t(row) * kColumns]) != float(i / kChosen % 256 + 1))
        o.wrong = "wrong result at row " + std::to_string(row);
      ++row;
    }
  return o;
}

// Few choices, which a block counts itself, and many, which a cluster shares.
emu::bugs::Outcome drive(uint64_t seed) {
  emu::options().seed = seed;
  const emu::bugs::Outcome few = run_tokens<45>();
  return few.report && few.wrong.empty() ? run_tokens<700>() : few;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
