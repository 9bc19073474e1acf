// Runs kernels on the CPU: a fiber for each CUDA thread, in an order that a seed picks; what a kernel does wrong comes
// back as a report that names it. One block runs after another.
#pragma once

#include <functional>
#include <string>

#include "emulator/device.h"

namespace opswap::emu {

struct Options {
  uint64_t seed = 0;  // order of threads; bit 0: copies complete as late as they can, bit 1: so do matrix products
};
Options &options();  // of this host thread

struct Counters {
  uint64_t switches = 0, barriers = 0, collectives = 0, copies = 0, copied_bytes = 0, wgmmas = 0;
};

struct Report {
  std::string error;  // empty: nothing found
  Counters counters;
  explicit operator bool() const { return error.empty(); }
};

struct Launch {
  const char *name = "kernel";
  dim3 grid, block;
  size_t smem = 0;
};

Report run(const Launch &launch, const std::function<void()> &body);

// Starts `kernel(args...)` with copies of the arguments, as a launch does.
template <class... P, class... A>
Report launch(const Launch &how, void (*kernel)(P...), A &&...args) {
  return run(how, [=] { kernel(args...); });
}

}  // namespace opswap::emu
