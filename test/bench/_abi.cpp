// One C ABI call by name with its checks: rms_norm of one row of 8, so that the kernel is a few nanoseconds.
#include <chrono>
#include <cstdio>

#include "opswap.h"

int main() {
  float out[8], input[8] = {1, 2, 3, 4, 5, 6, 7, 8}, weight[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  int64_t rows[2] = {1, 8}, row_strides[2] = {8, 1}, width[1] = {8}, unit[1] = {1};
  const DLDevice cpu = {kDLCPU, 0};
  const DLDataType f32 = {2, 32, 1};
  const DLTensor tensors[3] = {{out, cpu, 2, f32, rows, row_strides, 0},
                               {input, cpu, 2, f32, rows, row_strides, 0},
                               {weight, cpu, 1, f32, width, unit, 0}};
  opswap_arg args[4] = {};
  for (int i = 0; i < 3; ++i) args[i].tag = OPSWAP_TENSOR, args[i].v.tensor = &tensors[i];
  args[3].tag = OPSWAP_FLOAT, args[3].v.f = 1e-6;
  constexpr int kRounds = 9, kCalls = 2000000;
  double best = 1e9, median[kRounds];
  for (double &ns : median) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i)
      if (opswap_call("rms_norm", args, 4, nullptr)) return std::puts(opswap_last_error()), 1;
    ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / kCalls;
    best = ns < best ? ns : best;
  }
  for (int i = 0; i < kRounds; ++i)
    for (int k = i + 1; k < kRounds; ++k)
      if (median[k] < median[i]) std::swap(median[i], median[k]);
  std::printf("{\"bench\":\"abi\",\"call_ns_median\":%.1f,\"call_ns_best\":%.1f,\"reach_ns\":50,\"goal_ns\":30}\n",
              median[kRounds / 2], best);
}
