// One C ABI call by name with its checks: rms_norm without rows (the call alone) and with one row of 16 (call and
// kernel). `_abi CALLS` takes each of its medians from so many calls at a time instead of a million.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "opswap.h"

namespace {

constexpr int kRounds = 15, kUsualCalls = 1000000;

// Of the rounds, nanoseconds a call; other work on the machine only ever adds, so the quickest has the least of it.
struct Times {
  double median, quickest;
};

// Times of a call over `rows` rows, -1 when it was refused.
Times measure(int64_t rows, int calls) {
  float out[16], input[16] = {1, 2, 3}, weight[16] = {1, 1, 1};
  int64_t shape[2] = {rows, 16}, strides[2] = {16, 1}, width[1] = {16}, unit[1] = {1};
  const DLDevice cpu = {kDLCPU, 0};
  const DLDataType f32 = {2, 32, 1};
  const DLTensor tensors[3] = {{out, cpu, 2, f32, shape, strides, 0},
                               {input, cpu, 2, f32, shape, strides, 0},
                               {weight, cpu, 1, f32, width, unit, 0}};
  opswap_arg args[4] = {};
  for (int i = 0; i < 3; ++i) {
    args[i].tag = OPSWAP_TENSOR;
    args[i].v.tensor = &tensors[i];
  }
  args[3].tag = OPSWAP_FLOAT;
  args[3].v.f = 1e-6;
  double rounds[kRounds];
  for (double &ns : rounds) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i)
      if (opswap_call("rms_norm", args, 4, nullptr)) return {-1, -1};
    ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / calls;
  }
  std::sort(rounds, rounds + kRounds);
  return {rounds[kRounds / 2], rounds[0]};
}

}  // namespace

int main(int argc, char **argv) {
  const int calls = argc > 1 ? std::atoi(argv[1]) : kUsualCalls;
  if (calls < 1) return std::fprintf(stderr, "expected a number of calls\n"), 2;
  const Times call = measure(0, calls), with_kernel = measure(1, calls);
  if (call.median < 0 || with_kernel.median < 0) return std::fprintf(stderr, "%s\n", opswap_last_error()), 1;
  std::printf("{\"bench\":\"abi\",\"call_ns\":%.1f,\"call_and_row_of_16_ns\":%.1f,\"quickest_ns\":%.2f,", call.median,
              with_kernel.median, call.quickest);
  std::printf("\"reach_ns\":50,\"goal_ns\":30}\n");
  return 0;
}
