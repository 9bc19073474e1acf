// Runs the kernel of grouped_topk/sm90.cu, as shipped or with a seeded bug, on the emulator, and checks its output.
#include "bugs/drive_room.h"
//
#include "grouped_topk/sm90.cu"

#include <algorithm>

namespace {

using namespace opswap;

// Neighbours are equal: the lower expert comes first.
emu::bugs::Outcome drive(uint64_t seed) {
  constexpr int kTokens = 37, kExperts = 256, kChosen = 6;
  emu::options().seed = seed;
  std::vector<bf16> logits(kTokens * kExperts);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = from_float<bf16>(float(int(i / 2 * 131 % 251) - 125) / 64);
  std::vector<float> bias(kExperts);
  for (int e = 0; e < kExperts; ++e) bias[size_t(e)] = float(e / 2 * 7 % 5) / 8;
  std::vector<float> weights(kTokens * kChosen, NAN);
  std::vector<int32_t> ids(kTokens * kChosen, -1);
  const emu::DeviceTensor w(weights.data(), DType::float32, {kTokens, kChosen});
  const emu::DeviceTensor chosen(ids.data(), DType::int32, {kTokens, kChosen});
  const emu::DeviceTensor gating(logits.data(), DType::bfloat16, {kTokens, kExperts});
  const emu::DeviceTensor correction(bias.data(), DType::float32, {kExperts});
  grouped_topk_args a;
  a.e_score_correction_bias = correction.tensor, a.bias_dtype = DType::float32;
  a.topk_weights = w.tensor, a.topk_ids = chosen.tensor, a.gating_output = gating.tensor;
  a.num_expert_group = a.topk_group = 1, a.use_sigmoid = a.renormalize = true, a.routed_scaling_factor = 1;
  a.T = kTokens, a.K = kChosen, a.E = kExperts, a.scalar_dtype = DType::bfloat16;
  emu::bugs::Outcome o;
  const emu::Stream stream;
  emu::bugs::in_front(logits), emu::bugs::in_front(weights), emu::bugs::in_front(ids);
  OPSWAP_PASS::grouped_topk_sm90(a, emu::bugs::one_sm());
  o.report = emu::room_report();
  for (int t = 0; t < kTokens && o.report && o.wrong.empty(); ++t) {
    std::vector<int> order(kExperts);
    for (int e = 0; e < kExperts; ++e) order[size_t(e)] = e;
    const bf16 *row = &logits[size_t(t) * kExperts];
    const auto score = [&](int e) { return 1.0f / (1.0f + expf(-to_float(row[e]))) + bias[size_t(e)]; };
    std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return score(x) > score(y); });
    double total = 0;
    for (int k = 0; k < kChosen; ++k) total += double(weights[size_t(t * kChosen + k)]);
    const bool same = std::equal(order.begin(), order.begin() + kChosen, ids.begin() + t * kChosen);
    if (!same || !(std::fabs(total - 1) < 1e-5)) o.wrong = "wrong result at row " + std::to_string(t);
  }
  emu::bugs::expect_at_most(o, "bank conflicts", 0, o.report.counters.bank_conflicts);
  return o;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
