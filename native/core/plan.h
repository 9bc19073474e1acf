// Plans: what an implementation works out once for a shape, in memory of the caller's.
#pragma once

#include "bound.h"

namespace opswap {

// Stands before the implementation's own part. It says for which calls the plan is; a plan may come from another
// process, so that its own part is checked by the implementation that reads it.
struct PlanHeader {
  static constexpr uint32_t kMagic = 0x4c50534f;  // "OSPL"
  static constexpr uint32_t kVersion = 1;
  uint32_t magic, version;
  uint64_t call;  // digest of build, op, implementation, shapes, dtypes and scalars
  uint64_t size;  // of the part behind it
  uint64_t reserved;
};

// Bytes of the whole plan; 0: this implementation makes none.
size_t plan_size(const Impl &impl, const Bound &bound, const opswap_exec &exec);

// Writes the header into plan_size() bytes, and says where the implementation's own part goes.
void *begin_plan(const Op &op, const Impl &impl, const Bound &bound, const opswap_exec &exec, void *plan);

// Fills plan_size() bytes.
opswap_status make_plan(const Op &op, const Impl &impl, const Bound &bound, const opswap_exec &exec, void *plan);

// Points `exec` to the implementation's own part, or OPSWAP_E_PLAN: made for another call, or cut.
opswap_status open_plan(const Op &op, const Impl &impl, const Bound &bound, opswap_exec &exec);

}  // namespace opswap
