// Calls rms_norm on tensors of the emulator's device, with and without a name, and prints what took each call.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "opswap.h"

static std::string call(int32_t device, const char *impl) {
  float out[8] = {}, input[8] = {1, 2, 3, 4, 5, 6, 7, 8}, weight[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  int64_t shape[2] = {1, 8}, strides[2] = {8, 1}, one[1] = {1};
  const DLDataType f32 = {2, 32, 1};  // DLPack: float
  DLTensor tensors[3] = {{out, {device, 0}, 2, f32, shape, strides, 0},
                         {input, {device, 0}, 2, f32, shape, strides, 0},
                         {weight, {device, 0}, 1, f32, shape + 1, one, 0}};
  opswap_arg args[4] = {};
  for (int i = 0; i < 3; ++i) {
    args[i].tag = OPSWAP_TENSOR;
    args[i].v.tensor = &tensors[i];
  }
  args[3].tag = OPSWAP_FLOAT;
  args[3].v.f = 1e-6;
  opswap_exec exec{};
  exec.struct_size = sizeof exec;
  exec.impl = impl;
  if (opswap_call("rms_norm", args, 4, &exec)) return opswap_last_error();
  return out[0] > 0 ? "ran" : "wrong";
}

int main() {
  std::vector<char> why(1 << 16);
  size_t size = why.size();
  if (opswap_why("rms_norm", nullptr, 0, why.data(), &size)) return 1;
  std::printf("%s\n", why.data());
  std::printf("named: %s\n", call(kDLCUDA, "sm90").c_str());
  std::printf("device: %s\n", call(kDLCUDA, nullptr).c_str());
  std::printf("host: %s\n", call(kDLCPU, nullptr).c_str());
  opswap_use("rms_norm", "cpu");
  std::printf("asked for cpu: %s\n", call(kDLCUDA, nullptr).c_str());
}
