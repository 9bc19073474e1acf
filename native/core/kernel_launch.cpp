// Starts a kernel through CUDA or the emulator, and says in words why a start failed.
#include "kernel_launch.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "device.h"
#include "error.h"

#ifdef OPSWAP_EMULATE
#include "emulator/emulator.h"
#elif defined(OPSWAP_WITH_CUDA)
#include <cuda_runtime_api.h>
#endif

namespace opswap {
namespace {

constexpr size_t kMaxSharedMemory = 227 * 1024;
constexpr int64_t kMaxThreads = 1024, kMaxGridX = (int64_t{1} << 31) - 1, kMaxGridYZ = 65535, kMaxCluster = 16;

// A sentence in parts.
struct Line {
  std::string text;

  [[gnu::format(printf, 2, 3)]] void add(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const size_t used = text.size(), more = size_t(std::max(std::vsnprintf(nullptr, 0, format, args), 0));
    text.resize(used + more);
    std::vsnprintf(text.data() + used, more + 1, format, again);
    va_end(again);
    va_end(args);
  }
};

template <class T>
T value_of(const KernelArgument &a) {
  T value{};
  std::memcpy(&value, a.value, a.bytes < sizeof value ? a.bytes : sizeof value);
  return value;
}

void add_argument(Line &line, const KernelArgument &a) {
  switch (a.kind) {
    case 'p':
      return line.add("%p", value_of<void *>(a));
    case 'b':
      return line.add("%s", value_of<bool>(a) ? "true" : "false");
    case 'f':
      return line.add("%g", a.bytes == sizeof(double) ? value_of<double>(a) : double(value_of<float>(a)));
    case 'u':
      return line.add("%" PRIu64, value_of<uint64_t>(a));
    case 'i':
      return line.add("%" PRId64, a.bytes == 8   ? value_of<int64_t>(a)
                                  : a.bytes == 4 ? value_of<int32_t>(a)
                                  : a.bytes == 2 ? value_of<int16_t>(a)
                                                 : value_of<int8_t>(a));
    default:
      return line.add("{%" PRIu32 " bytes}", a.bytes);
  }
}

void add_extent(Line &line, const char *name, const Extent &e) {
  line.add("%s (%" PRId64 ", %" PRId64 ", %" PRId64 ")", name, e.x, e.y, e.z);
}

bool positive(const Extent &e) { return e.x > 0 && e.y > 0 && e.z > 0; }

// OPSWAP_E_LAUNCH with the kernel's name, geometry and arguments, what happened to it, and why.
[[gnu::cold]] opswap_status launch_failed(const Kernel &kernel, const Geometry &g, const char *what, const char *why) {
  Line line;
  add_extent(line, "grid", g.grid);
  add_extent(line, ", block", g.block);
  if (g.cluster.count() != 1) add_extent(line, ", cluster", g.cluster);
  line.add(", %zu bytes of dynamic shared memory%s, arguments (", g.smem, g.pdl ? ", programmatic launch" : "");
  for (int32_t i = 0; i < kernel.nargs; ++i) {
    if (i) line.add(", ");
    add_argument(line, kernel.args[i]);
  }
  line.add(")");
  return fail(OPSWAP_E_LAUNCH, "%s: kernel %s %s: %s; %s", kernel.op, kernel.name, what, why, line.text.c_str());
}

constexpr const char *kNotStarted = "did not start";

}  // namespace

opswap_status check_geometry(const Kernel &kernel, const Geometry &g) {
  char why[160] = "";
  if (!positive(g.block) || g.block.count() > kMaxThreads || g.block.z > 64)
    std::snprintf(why, sizeof why, "a block needs 1 to %" PRId64 " threads, at most 64 along z", kMaxThreads);
  else if (g.grid.x < 0 || g.grid.y < 0 || g.grid.z < 0 || g.grid.x > kMaxGridX || g.grid.y > kMaxGridYZ ||
           g.grid.z > kMaxGridYZ)
    std::snprintf(why, sizeof why, "a grid has at most %" PRId64 " blocks along x, %" PRId64 " along y and z",
                  kMaxGridX, kMaxGridYZ);
  else if (g.smem > kMaxSharedMemory)
    std::snprintf(why, sizeof why, "a block has at most %zu bytes of dynamic shared memory", kMaxSharedMemory);
  else if (!positive(g.cluster) || g.cluster.count() > kMaxCluster || g.grid.x % g.cluster.x ||
           g.grid.y % g.cluster.y || g.grid.z % g.cluster.z)
    std::snprintf(why, sizeof why, "a cluster needs 1 to %" PRId64 " blocks and divides the grid", kMaxCluster);
  return why[0] ? launch_failed(kernel, g, kNotStarted, why) : opswap_status{OPSWAP_OK};
}

#ifdef OPSWAP_EMULATE

namespace {

// The card that OPSWAP_EMULATE_DEVICE names; nullptr: no such.
const emu::Device *emulated_device() {
  const char *name = std::getenv("OPSWAP_EMULATE_DEVICE");
  if (!name) return &emu::kDevices[0];
  for (const emu::Device &device : emu::kDevices)
    if (!std::strcmp(device.name, name)) return &device;
  return nullptr;
}

std::string no_such_device() {
  std::string text = "OPSWAP_EMULATE_DEVICE needs to be one of";
  for (const emu::Device &device : emu::kDevices) text += std::string(" ") + device.name;
  return text;
}

}  // namespace

int64_t device_sms() {
  const emu::Device *device = emulated_device();
  return device ? device->sms : 1;
}

const char *played_model() {
  const emu::Device *device = emulated_device();
  return device ? device->name : "";
}

// OPSWAP_EMULATE_SEED picks the order of threads and of asynchronous work, for each launch anew; OPSWAP_EMULATE_FP8 how
// products of FP8 are summed.
opswap_status launch_emulated(const Kernel &kernel, const Geometry &g, const std::function<void()> &body) {
  if (opswap_status e = check_geometry(kernel, g)) return e;
  if (!emulated_device()) return launch_failed(kernel, g, kNotStarted, no_such_device().c_str());
  if (!g.grid.count()) return OPSWAP_OK;
  const char *seed = std::getenv("OPSWAP_EMULATE_SEED");
  emu::options().seed = seed ? std::strtoull(seed, nullptr, 10) : 0;
  const char *fp8 = std::getenv("OPSWAP_EMULATE_FP8");
  emu::options().hopper_fp8 = fp8 && !std::strcmp(fp8, "hopper");
  const auto size = [](const Extent &e) { return dim3(unsigned(e.x), unsigned(e.y), unsigned(e.z)); };
  const emu::Report report = emu::run({kernel.name, size(g.grid), size(g.block), g.smem, size(g.cluster), g.pdl}, body);
  if (report) return OPSWAP_OK;
  return launch_failed(kernel, g, "was stopped by the emulator", report.error.c_str());
}

#elif defined(OPSWAP_WITH_CUDA)
namespace {

dim3 to_dim3(const Extent &e) { return dim3(unsigned(e.x), unsigned(e.y), unsigned(e.z)); }

// More than the 48 KB (or 8 blocks per cluster) that every kernel may have must be asked for, once per kernel and
// device.
cudaError_t allow(const void *handle, const Geometry &g) {
  if (g.smem > 48 * 1024)
    if (cudaError_t e = cudaFuncSetAttribute(handle, cudaFuncAttributeMaxDynamicSharedMemorySize, int(g.smem)))
      return e;
  if (g.cluster.count() > 8) return cudaFuncSetAttribute(handle, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  return cudaSuccess;
}

// What CUDA calls an invalid value: static and dynamic shared memory that do not fit together. Nothing, if they do.
std::string shared_memory_refusal(const void *handle, const Geometry &g) {
  cudaFuncAttributes of{};
  if (cudaFuncGetAttributes(&of, handle) || of.sharedSizeBytes + g.smem <= kMaxSharedMemory) return "";
  Line why;
  why.add(
      "a block has at most %zu bytes of shared memory, the kernel has %zu static ones and asks for %zu dynamic ones",
      kMaxSharedMemory, of.sharedSizeBytes, g.smem);
  return why.text;
}

}  // namespace

opswap_status launch_cuda(const opswap_exec &exec, const Kernel &kernel, const Geometry &g, const void *handle,
                          void **params) {
  if (opswap_status e = check_geometry(kernel, g)) return e;
  if (!g.grid.count()) return OPSWAP_OK;  // no blocks: no work
  cudaLaunchAttribute attributes[2]{};
  cudaLaunchConfig_t config{};
  config.gridDim = to_dim3(g.grid);
  config.blockDim = to_dim3(g.block);
  config.dynamicSmemBytes = g.smem;
  config.stream = static_cast<cudaStream_t>(exec.stream);
  config.attrs = attributes;
  if (g.pdl) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (g.cluster.count() > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {unsigned(g.cluster.x), unsigned(g.cluster.y),
                                                    unsigned(g.cluster.z)};
  }
  cudaError_t error = allow(handle, g);
  if (!error) error = cudaLaunchKernelExC(&config, handle, params);
  if (!error) return OPSWAP_OK;
  Line why;
  why.text = shared_memory_refusal(handle, g);
  if (why.text.empty()) why.add("%s (%s)", cudaGetErrorName(error), cudaGetErrorString(error));
  cudaGetLastError();  // returned here, so it must not be found again by a later call
  return launch_failed(kernel, g, kNotStarted, why.text.c_str());
}
#endif

}  // namespace opswap
