// What looks on at the calls of an op: a shadow, a recording, or both.
#pragma once

#include <functional>

#include "bound.h"

namespace opswap {

// Runs `live` under what watches the op.
opswap_status run_watched(Op &op, const Bound &bound, const std::function<opswap_status()> &live);

// Says anew whether calls have to look; the caller holds op.watch_mutex.
void set_watched(Op &op);

}  // namespace opswap
