// Runs the kernels of gemm_fp8_block128/sm90.cu, as shipped or with a seeded bug, on the emulator, and checks their
// products.
#include "bugs/drive_room.h"
//
#include "gemm_fp8_block128/sm90.cu"

namespace {

using namespace opswap;

// Numbers that FP8 has, and scales that differ from block to block.
float value(size_t i, size_t salt) { return float(int((i * 131 + salt * 7919) % 15) - 7) / 4; }
float scale(size_t i) { return float(i * 37 % 11 + 1) / 64; }

emu::bugs::Outcome run(int tokens) {
  constexpr int kFeatures = 136, kLength = 1680, kBlocks = (kLength + 127) / 128, kDown = 2;
  std::vector<e4m3> x(size_t(tokens) * kLength), w(size_t(kFeatures) * kLength);
  std::vector<float> of_x(size_t(tokens) * kBlocks), of_w(kDown * kBlocks);
  std::vector<bf16> out(size_t(tokens) * kFeatures, bf16{0x7fff});
  for (size_t i = 0; i < x.size(); ++i) x[i] = from_float<e4m3>(value(i, 1));
  for (size_t i = 0; i < w.size(); ++i) w[i] = from_float<e4m3>(value(i, 2));
  for (size_t i = 0; i < of_x.size(); ++i) of_x[i] = scale(i);
  for (size_t i = 0; i < of_w.size(); ++i) of_w[i] = scale(i + 5);
  const emu::DeviceTensor to(out.data(), DType::bfloat16, {tokens, kFeatures});
  const emu::DeviceTensor input(x.data(), DType::float8_e4m3fn, {tokens, kLength});
  const emu::DeviceTensor input_scale(of_x.data(), DType::float32, {tokens, kBlocks});
  const emu::DeviceTensor weight(w.data(), DType::float8_e4m3fn, {kFeatures, kLength});
  const emu::DeviceTensor weight_scale(of_w.data(), DType::float32, {kDown, kBlocks});
  gemm_fp8_block128_args a;
  a.out = to.tensor, a.input = input.tensor, a.weight = weight.tensor;
  a.input_scale = input_scale.tensor, a.weight_scale = weight_scale.tensor;
  a.M = tokens, a.N = kFeatures, a.K = kLength, a.S0 = tokens, a.S1 = a.B1 = kBlocks, a.B0 = kDown;
  a.scalar_dtype = DType::bfloat16, a.input_dtype = DType::float8_e4m3fn;
  emu::bugs::Outcome o;
  const emu::Stream stream;
  emu::bugs::in_front(x), emu::bugs::in_front(out), emu::bugs::in_front(of_x);
  OPSWAP_PASS::gemm_fp8_block128_sm90(a, emu::bugs::one_sm());
  o.report = emu::room_report();
  for (size_t i = 0; i < out.size() && o.report && o.wrong.empty(); ++i) {
    const size_t m = i / kFeatures, n = i % kFeatures;
    double sum = 0;
    for (size_t c = 0; c < kLength; ++c)
      sum += double(value(m * kLength + c, 1)) * double(value(n * kLength + c, 2)) *
             double(of_x[m * kBlocks + c / 128]) * double(of_w[n / 128 * kBlocks + c / 128]);
    if (!(std::fabs(sum - double(to_float(out[i]))) <= 0.01 + std::fabs(sum) / 128))
      o.wrong = "wrong result at row " + std::to_string(m);
  }
  return o;
}

// Few tokens, which are the columns of what is multiplied, and more stages of K than the ring has.
emu::bugs::Outcome drive(uint64_t seed) {
  emu::options().seed = seed;
  const emu::bugs::Outcome few = run(9);
  return few.report && few.wrong.empty() ? run(70) : few;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
