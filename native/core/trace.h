// The trace: which implementation each call used, on what shapes, how long it took, at which step and epoch, in a ring.
#pragma once

#include "bound.h"
#include "registry.h"

namespace opswap {

// What a call was for, as in opswap_trace_record.
enum class Arm : int32_t { live, control, candidate };

extern std::atomic<bool> trace_on;
inline bool traced() { return trace_on.load(std::memory_order_relaxed); }

// One call that has been counted; -1 where its time is not known.
void trace_store(const Op &op, const Impl &impl, uint64_t bucket, Arm arm, int64_t duration_ns);

// Ticks of all steps that have ended. A pause between two steps counts as one usual step.
uint64_t step_ticks();

// Where the calls of this process are; `layer` is the number, from 0, of the call of an op that runs now among those of
// its step. As opswap_set_context was told last.
struct Place {
  int32_t rank, layer;
  int64_t step, epoch;
};
Place place_of(const Op &op);
Place place_of_process();  // layer 0

}  // namespace opswap
