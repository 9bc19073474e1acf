// The trace: which implementation each call used, at which step and epoch, kept in a ring.
#pragma once

#include "registry.h"

namespace opswap {

extern std::atomic<bool> trace_on;
void trace_store(const Op &op, const Impl &impl);

inline void trace_call(const Op &op, const Impl &impl) {
  if (trace_on.load(std::memory_order_relaxed)) trace_store(op, impl);
}

// rank, step, epoch as last set.
void get_context(int32_t &rank, int64_t &step, int64_t &epoch);

}  // namespace opswap
