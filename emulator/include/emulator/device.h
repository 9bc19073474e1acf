// The emulator as device code and the wrappers see it: who the thread is, shared memory, barriers, meetings of lanes.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>

#include "emulator/types.h"

namespace opswap::emu {

struct ThreadView {
  uint3 thread{};
  uint32_t linear = 0, warp = 0, lane = 0;
};
struct BlockView {
  uint3 block{};
  dim3 block_size, grid_size, cluster_size;
  uint32_t rank = 0;  // in its cluster
};
// Of the model that the build asks for: initial-exec would need room in static TLS for all of libopswap's, which dlopen
// does not have.
extern constinit thread_local ThreadView *thread_view;
extern constinit thread_local BlockView *block_view;

// Ends the launch with a report that names block and thread.
[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char *format, ...);

// Shared memory starts poisoned: every byte 0xff, a NaN in every floating type.
void *dynamic_smem(size_t bytes);
void *static_smem(const void *site, size_t bytes, size_t alignment);
uint32_t smem_address(const void *p);                            // as the shared window counts; fails outside of it
void check_smem(const void *p, size_t bytes, const char *what);  // fails unless all of it is this block's

// One access of this thread as wide as `bytes`, for the counters; its alignment is checked. The caller's code address
// tells the program point, so callers are inlined into the kernel.
enum class Access : uint8_t { kLoad, kStore, kWait };
void access_global(const void *p, uint32_t bytes, Access kind);
void access_shared(const void *p, uint32_t bytes, Access kind);
void access_atomic(const void *p, uint32_t bytes);  // of either memory; not counted

inline void check_aligned(const void *p, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(p) % bytes)
    fail("an access of %zu bytes at %p, which is not aligned to it", bytes, p);
}

// Programmatic dependent launch, by this thread.
void dependency_wait();
void dependency_trigger();

// Named barrier; 0 threads means all of the block that have not ended. `wait` false: arrives only.
void barrier(uint32_t id, uint32_t threads, bool wait = true);

// All lanes of `mask` meet; the result is what each of the 32 brought, until this thread meets the next time. `what`
// tells apart operations that must not meet.
enum class Collective { kSync, kShuffle, kBallot, kMatch, kReduce, kMatrix, kPublish, kRegisters, kElect };
const uint64_t *collective(uint32_t mask, Collective what, uint64_t in);

// The whole warp, which is converged: true for one lane, the same each time. Which one is the seed's to say.
bool elect_one();

// setmaxnreg, by all threads of a warpgroup: each has `count` registers from then on.
void set_registers(uint32_t count, bool grow);

void mbarrier_init(uint64_t *barrier, uint32_t arrivals);
void mbarrier_inval(uint64_t *barrier);
void mbarrier_arrive(uint64_t *barrier, uint32_t arrivals, uint32_t expected_bytes);
void mbarrier_expect(uint64_t *barrier, uint32_t bytes);
bool mbarrier_test(uint64_t *barrier, uint32_t parity);
void mbarrier_wait(uint64_t *barrier, uint32_t parity);

template <class T>
[[gnu::always_inline]] inline T shuffle(uint32_t mask, T value, uint32_t source) {
  static_assert(sizeof(T) <= 8);
  uint64_t in = 0;
  std::memcpy(&in, &value, sizeof value);
  const uint64_t *out = collective(mask, Collective::kShuffle, in);
  if (!(mask >> source & 1)) fail("shuffle: reads lane %u, which is not in mask 0x%08x", source, mask);
  std::memcpy(&value, &out[source], sizeof value);
  return value;
}

template <class T, class Fold>
[[gnu::always_inline]] inline T reduce(uint32_t mask, T value, Fold fold) {
  const uint64_t *out = collective(mask, Collective::kReduce, uint64_t(value));
  T all = T(out[std::countr_zero(mask)]);
  for (uint32_t lane = std::countr_zero(mask) + 1; lane < 32; ++lane)
    if (mask >> lane & 1) all = fold(all, T(out[lane]));
  return all;
}

}  // namespace opswap::emu

#include "emulator/approx.h"
#include "emulator/async.h"
#include "emulator/cluster.h"
#include "emulator/cuda.h"
