// Runs the kernels of linear/sm90.cu, as shipped or with a seeded bug, on the emulator, and checks their products.
#include "bugs/drive_room.h"
//
#include "linear/sm90.cu"

namespace {

using namespace opswap;

float value(size_t i, size_t salt) { return float(int((i * 131 + salt * 7919) % 61) - 30) / 16; }

// `tokens` rows by an odd number of features.
emu::bugs::Outcome run(int tokens, int k, const opswap_exec &exec) {
  constexpr int kFeatures = 137;
  const size_t length = size_t(k);
  std::vector<bf16> x(size_t(tokens) * length), w(kFeatures * length), bias(kFeatures);
  std::vector<bf16> out(size_t(tokens) * kFeatures, bf16{0x7fff});
  for (size_t i = 0; i < x.size(); ++i) x[i] = from_float<bf16>(value(i, 1));
  for (size_t i = 0; i < w.size(); ++i) w[i] = from_float<bf16>(value(i, 2));
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = from_float<bf16>(value(i, 3));
  const emu::DeviceTensor to(out.data(), DType::bfloat16, {tokens, kFeatures});
  const emu::DeviceTensor input(x.data(), DType::bfloat16, {tokens, k});
  const emu::DeviceTensor weight(w.data(), DType::bfloat16, {kFeatures, k});
  const emu::DeviceTensor plus(bias.data(), DType::bfloat16, {kFeatures});
  linear_args a;
  a.out = to.tensor, a.input = input.tensor, a.weight = weight.tensor, a.bias = plus.tensor;
  a.M = tokens, a.N = kFeatures, a.K = k, a.scalar_dtype = a.weight_dtype = DType::bfloat16;
  emu::bugs::Outcome o;
  const emu::Stream stream;
  emu::bugs::in_front(x), emu::bugs::in_front(out);
  OPSWAP_PASS::linear_sm90(a, exec);
  o.report = emu::room_report();
  for (size_t i = 0; i < out.size() && o.report && o.wrong.empty(); ++i) {
    const size_t m = i / kFeatures, n = i % kFeatures;
    double sum = double(to_float(bias[n]));
    for (size_t c = 0; c < length; ++c) sum += double(value(m * length + c, 1)) * double(value(n * length + c, 2));
    if (!(std::fabs(sum - double(to_float(out[i]))) <= 0.01 + std::fabs(sum) / 128))
      o.wrong = "wrong result at row " + std::to_string(m);
  }
  return o;
}

// Few tokens, whose K a cluster shares, and many on one SM, which goes through several tiles.
emu::bugs::Outcome drive(uint64_t seed) {
  emu::options().seed = seed;
  const emu::bugs::Outcome few = run(13, 1032, {.struct_size = sizeof(opswap_exec)});
  return few.report && few.wrong.empty() ? run(270, 72, emu::bugs::one_sm()) : few;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
