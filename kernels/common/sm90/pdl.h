// Programmatic dependent launch: a kernel may start before the one in front of it has ended; here it waits for that
// one, and lets the next start.
#pragma once

#include "common/sm90/platform.h"

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE void dependency_wait() { emu::dependency_wait(); }
OPSWAP_DEVICE void dependency_trigger() { emu::dependency_trigger(); }

#else

// Before the first read of what an earlier kernel wrote.
OPSWAP_DEVICE void dependency_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
// The next kernel's blocks may start; they still wait for this kernel's end.
OPSWAP_DEVICE void dependency_trigger() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

#endif

}  // namespace opswap::sm90
