// The emulator on a room's kernel and on a GEMM block: milliseconds of a launch with everything that it counts.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "emulator/convert.h"
#include "kernels/gemm.h"
#include "rooms/room.h"

#define OPSWAP_OP "rms_norm"
#define OPSWAP_PASS sm90_bfloat16
#define OPSWAP_SCALAR bf16
#include "rms_norm/sm90.cu"

using namespace opswap;

namespace {

constexpr int kRounds = 31;

double now_ms(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) / 1e6;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class Launch>
void measure(const char *name, double reach, Launch &&launch) {
  std::vector<double> wall, cpu;
  for (int round = 0; round < kRounds; ++round) {
    const double start = now_ms(CLOCK_MONOTONIC), worked = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    if (const emu::Report report = launch(); !report)
      std::exit((std::fprintf(stderr, "%s\n", report.error.c_str()), 1));
    wall.push_back(now_ms(CLOCK_MONOTONIC) - start);
    cpu.push_back(now_ms(CLOCK_PROCESS_CPUTIME_ID) - worked);
  }
  std::printf("{\"bench\":\"emulator\",\"kernel\":\"%s\",\"median_ms\":%.2f,\"cpu_ms\":%.2f,\"reach_ms\":%g}\n", name,
              median(wall), median(cpu), reach);
}

void rms_norm() {
  constexpr int kRows = 64, kColumns = 4096;
  std::vector<uint16_t> x(kRows * kColumns), weight(kColumns, emu::float_to_bf16(1)), out(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = emu::float_to_bf16(float(i % 37) - 18);
  const emu::DeviceTensor to(out.data(), DType::bfloat16, {kRows, kColumns});
  const emu::DeviceTensor from(x.data(), DType::bfloat16, {kRows, kColumns});
  const emu::DeviceTensor gain(weight.data(), DType::bfloat16, {kColumns});
  rms_norm_args args;
  args.out = to.tensor, args.input = from.tensor, args.weight = gain.tensor;
  args.epsilon = 1e-6, args.T = kRows, args.H = kColumns, args.scalar_dtype = DType::bfloat16;
  measure("rms_norm 64x4096 bfloat16", 15, [&] {
    sm90_bfloat16::rms_norm_sm90(args, opswap_exec{});
    return emu::room_report();
  });
}

void gemm() {
  using namespace sm90;
  constexpr int kSize = 128, kDepth = 256;
  std::vector<uint8_t> operands(2 * kSize * kDepth);
  for (size_t i = 0; i < operands.size(); ++i) operands[i] = emu::float_to_e4m3(float(i % 37) - 18);
  TensorMap maps[2];
  for (int i = 0; i < 2; ++i)
    encode(maps[i], {MapType::u8,
                     2,
                     operands.data() + i * kSize * kDepth,
                     {kDepth, kSize},
                     {kDepth},
                     {128, kSize},
                     MapSwizzle::b128});
  std::vector<float> c(kSize * kSize);
  measure("gemm block 128x128x256 e4m3, warp-specialised", 5, [&] {
    return emu::launch({"gemm", {1, 1}, {GemmTile::kThreads}, sizeof(GemmTile)}, gemm_example<MatrixType::e4m3>,
                       maps[0], maps[1], c.data(), kSize, kSize, kDepth / 128);
  });
}

}  // namespace

int main() {
  rms_norm();
  gemm();
  return 0;
}
