// A call whose arguments are checked and whose implementation is chosen.
#pragma once

#include "bound.h"

namespace opswap {

// Runs `impl` after its own refusals; nothing is counted.
opswap_status run_implementation(const Op &op, Impl &impl, const Bound &bound, const opswap_exec &exec);

// Bytes of workspace that it needs from the caller.
size_t workspace_of(const Impl &impl, const Bound &bound, const opswap_exec &exec);

}  // namespace opswap
