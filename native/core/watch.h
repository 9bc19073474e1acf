// What looks on at the calls of an op: a shadow, a recording, or both.
#pragma once

#include "bound.h"

namespace opswap {

// A live call that has been counted and is still to run.
struct LiveCall {
  opswap_status (*run)(void *context);
  void *context;
  const Impl *impl;
  void *stream;
};

// Runs `live`, once, under what watches the op. Nothing that fails on the way keeps it from running, or changes what it
// returns.
opswap_status run_watched(Op &op, const Bound &bound, LiveCall live);

// Says anew whether calls have to look; the caller holds op.watch_mutex.
void set_watched(Op &op);

}  // namespace opswap
