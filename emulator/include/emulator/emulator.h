// Runs kernels on the CPU: a fiber for each CUDA thread, in an order that a seed picks; what a kernel does wrong comes
// back as a report that names it. One cluster of blocks runs after another; its blocks run side by side.
#pragma once

#include <functional>
#include <string>
#include <tuple>

#include "emulator/device.h"

namespace opswap::emu {

// A card that the emulator stands for: evidence/devices.json has the same figures, with their sources.
struct Device {
  const char *name;
  int64_t sms;
};
constexpr Device kDevices[] = {{"H100", 132}, {"H20", 78}};

struct Options {
  // Order of threads; bit 0: copies complete as late as they can, bit 1: so do matrix products, bit 2: a block of a
  // cluster goes as far as it can before the next one.
  uint64_t seed = 0;
  bool hopper_fp8 = false;  // FP8 products are summed with Hopper's 14 bits instead of those of a float
};
Options &options();  // of this host thread

// Of a launch. Global memory as the warps and the copy units ask for it; `distinct` counts a sector of 32 bytes once in
// the launch, which is what a perfect cache would fetch. Not counted: what a kernel reads or writes without the vec
// layer, and everything under ThreadSanitizer.
struct Counters {
  uint64_t switches = 0, barriers = 0, collectives = 0, copies = 0, copied_bytes = 0, boxed_bytes = 0, wgmmas = 0;
  uint64_t load_bytes = 0, load_sectors = 0, distinct_load_sectors = 0;
  uint64_t store_bytes = 0, store_sectors = 0, distinct_store_sectors = 0;
  // A shared access of a warp takes one pass per 128 bytes, and one more for each word that meets another in its bank.
  uint64_t shared_accesses = 0, shared_passes = 0, bank_conflicts = 0;
  uint64_t peer_load_bytes = 0, peer_store_bytes = 0;  // of shared memory of other blocks of a cluster, also copies
  // Rows of A and columns of B over all products, and those that are not all zero, as padding is.
  uint64_t wgmma_rows = 0, wgmma_useful_rows = 0, wgmma_columns = 0, wgmma_useful_columns = 0;
  uint64_t barrier_waits = 0, mbarrier_waits = 0;  // of warps
};

struct Report {
  std::string error;         // empty: nothing found
  std::string place;         // file:line of the kernel it is about, where that is known
  std::string conflicts_at;  // of the access with the most bank conflicts
  Counters counters;
  explicit operator bool() const { return error.empty(); }
};

struct Launch {
  const char *name = "kernel";
  dim3 grid, block;
  size_t smem = 0;
  dim3 cluster{};
  bool pdl = false;        // programmatic: its threads may start before the kernel in front of it has ended
  uint32_t registers = 0;  // of a thread, as compiled; 0: as many as there are for one block on an SM
};

Report run(const Launch &launch, const std::function<void()> &body);

// Starts `kernel(args...)` with copies of the arguments, as a launch does.
template <class... P, class... A>
Report launch(const Launch &how, void (*kernel)(P...), A &&...args) {
  const std::tuple<std::remove_cv_t<P>...> values(static_cast<std::remove_cv_t<P>>(args)...);
  return run(how, [&] { std::apply(kernel, values); });
}

// While it lives the launches of this host thread are a stream: a programmatic one is checked against those in front of
// it. Each call of an op is a stream of its own, since the emulator does not see what a host does between two calls.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream &) = delete;
};
// In front of the next stream is a kernel that reads and writes this; nullptr: none.
void in_front(const void *p, uint64_t bytes);

}  // namespace opswap::emu

extern "C" __attribute__((visibility("default"))) void opswap_emulator_in_front(const void *p, uint64_t bytes);

// The last launches of this process, oldest first, with their counters: a JSON array. `clear` forgets them afterwards.
// The text stays until the same thread asks again.
extern "C" __attribute__((visibility("default"))) const char *opswap_emulator_launches(int clear);
