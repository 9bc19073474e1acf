// How a kernel is started: its geometry, and the words for a start that fails. No CUDA header is needed to say so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "opswap.h"

namespace opswap {

// SMs of the device that is current, which is that of the call; the device is asked once.
int64_t device_sms();

struct Extent {
  int64_t x = 1, y = 1, z = 1;
  constexpr int64_t count() const { return x * y * z; }
};

struct Geometry {
  Extent grid;
  Extent block;
  size_t smem = 0;   // dynamic shared memory in bytes
  Extent cluster;    // blocks per cluster
  bool pdl = false;  // may start before the kernel in front of it has ended: it waits itself before its first read
};

// One kernel argument, for messages; `kind` is p(ointer), i(nteger), u(nsigned), f(loat), b(ool) or s(truct).
struct KernelArgument {
  const void *value;
  uint32_t bytes;
  char kind;
};

struct Kernel {
  const char *op;
  const char *name;
  const KernelArgument *args;
  int32_t nargs;
};

// Limits of sm_90 that need no device to check; OPSWAP_E_LAUNCH names the one that is passed.
opswap_status check_geometry(const Kernel &kernel, const Geometry &g);

// Starts a kernel of this library by its host-side handle; `params` are the addresses of its arguments.
opswap_status launch_cuda(const opswap_exec &exec, const Kernel &kernel, const Geometry &g, const void *handle,
                          void **params);

// Runs `body` as each thread of the grid, on the emulator; what it reports is OPSWAP_E_LAUNCH.
opswap_status launch_emulated(const Kernel &kernel, const Geometry &g, const std::function<void()> &body);

}  // namespace opswap
