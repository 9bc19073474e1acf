// The words of a launch that fails, whole however long they are, also where a played CUDA refuses it; the frame's own
// sources, since the library shows none.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include "error.h"
#include "kernel_launch.h"

using namespace opswap;

namespace {

// Of the played kernel, and what a block has.
constexpr size_t kStatic = 40000, kOfABlock = 227 * 1024;
size_t granted = 0;
bool refuses_all = false;

}  // namespace

cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int value) {
  if (kStatic + size_t(value) > kOfABlock) return cudaErrorInvalidValue;
  granted = size_t(value);
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *) {
  attributes->sharedSizeBytes = kStatic;
  return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *, void **) {
  return refuses_all || config->dynamicSmemBytes > granted ? cudaErrorInvalidValue : cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char *cudaGetErrorName(cudaError_t) { return "cudaErrorInvalidValue"; }
const char *cudaGetErrorString(cudaError_t) { return "invalid argument"; }

namespace {

int failures = 0;

void expect(bool right, const char *what) {
  if (right) return;
  std::fprintf(stderr, "not so: %s; last error: %s\n", what, opswap_last_error());
  failures += 1;
}

bool ends_with(const std::string &text, const char *end) {
  return text.size() >= std::strlen(end) && text.compare(text.size() - std::strlen(end), std::string::npos, end) == 0;
}

void many_arguments() {
  const std::vector<int64_t> values(200, 1234567890123456789);
  std::vector<KernelArgument> args;
  for (const int64_t &v : values) args.push_back({&v, sizeof v, 'i'});
  const Kernel kernel{"op", "many_kernel", args.data(), int32_t(args.size())};
  expect(check_geometry(kernel, {.block = {2048}}) == OPSWAP_E_LAUNCH, "2048 threads are refused");
  const std::string text = opswap_last_error();
  size_t found = 0;
  for (size_t at = 0; (at = text.find("1234567890123456789", at)) != std::string::npos; ++at) ++found;
  expect(found == values.size(), "every argument is named");
  expect(ends_with(text, ")"), "the message has its end");
}

void long_report() {
  const std::string report = std::string(20000, 'x') + " end";
  fail(OPSWAP_E_LAUNCH, "%s", report.c_str());
  expect(opswap_last_error() == report, "a report of 20004 letters is whole");
  fail(OPSWAP_E_LAUNCH, "again: %s", opswap_last_error());
  expect(opswap_last_error() == "again: " + report, "a message may quote the one before");
  fail(OPSWAP_E_LAUNCH, "short");
  expect(!std::strcmp(opswap_last_error(), "short"), "a short message follows a long one");
}

opswap_status launched(size_t dynamic) {
  const opswap_exec exec{};
  return launch_cuda(exec, {"op", "wide_kernel", nullptr, 0}, {.smem = dynamic}, nullptr, nullptr);
}

void shared_memory_that_does_not_fit() {
  expect(launched(kOfABlock - kStatic) == OPSWAP_OK, "all that a block has is granted");
  expect(launched(kOfABlock - kStatic + 1) == OPSWAP_E_LAUNCH, "a byte more is not");
  expect(std::string(opswap_last_error())
                 .find("op: kernel wide_kernel did not start: a block has at most 232448 bytes of shared memory, the "
                       "kernel has 40000 static ones and asks for 192449 dynamic ones; grid (1, 1, 1)") == 0,
         "static, dynamic and the limit are named");
  refuses_all = true;
  expect(launched(1024) == OPSWAP_E_LAUNCH, "another refusal is one too");
  expect(std::string(opswap_last_error()).find("did not start: cudaErrorInvalidValue (invalid argument)") !=
             std::string::npos,
         "and keeps CUDA's words");
}

}  // namespace

int main() {
  many_arguments();
  shared_memory_that_does_not_fit();
  long_report();
  return failures ? 1 : 0;
}
