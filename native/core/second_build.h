// A second build of the library in this process: its implementations stand beside those of this one, and share its
// threads.
#pragma once

#include <cstdint>

#include "opswap.h"

namespace opswap {

// What this one runs parallel regions on (pool.cpp); null: its own pool.
opswap_host_parallel host_parallel();

// Have every second build do as this one does from now on.
void share_threads(int32_t threads);
void share_host_parallel(opswap_host_parallel run);

}  // namespace opswap
