// Parallel regions for CPU implementations, on the library's own pool or on the host's team when one is given; and
// scratch memory that each thread keeps.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opswap {

using RangeFn = void (*)(void *ctx, int64_t begin, int64_t end);

// Splits [0, n) into chunks of at least `grain` and runs them on up to get_threads() threads; returns when all are
// done. Nested and concurrent calls run inline on their own thread.
void parallel_run(int64_t n, int64_t grain, RangeFn fn, void *ctx);

int32_t thread_count();

// 64-byte aligned scratch of the calling thread, valid until its next request of the same slot; grows, never shrinks.
// nullptr when memory ran out.
constexpr int kScratchSlots = 4;
void *scratch(int slot, size_t bytes);

}  // namespace opswap
