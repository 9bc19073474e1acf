// Work on a stream of the caller's beside the call's own, ordered by two events of the caller's: nothing is waited for
// on the host and nothing is made, so a graph captures it, and its capture takes in the second stream by the first
// event.
#pragma once

#include <cstdint>

#include "opswap.h"

namespace opswap {

// Handles of the CUDA runtime; null: the call's stream, no event.
struct SideStream {
  void *stream, *ready, *done;
};
inline SideStream side_stream(int64_t stream, int64_t ready, int64_t done) {
  return {reinterpret_cast<void *>(stream), reinterpret_cast<void *>(ready), reinterpret_cast<void *>(done)};
}

// Records `ready` on the call's stream and makes the side stream wait for it. Refused while the call's stream is being
// captured and nothing brings the side stream into the graph: its work would be done once, now, and never replayed.
opswap_status fork_stream(const opswap_exec &exec, const SideStream &side);

// Records `done` behind what the side stream has been given; who waits for it joins.
opswap_status mark_done(const opswap_exec &own, const SideStream &side);

// work(exec of the side stream) between the two.
template <class Work>
opswap_status on_side_stream(const opswap_exec &exec, const SideStream &side, Work &&work) {
  if (opswap_status e = fork_stream(exec, side)) return e;
  opswap_exec own = exec;
  if (side.stream) own.stream = side.stream;
  if (opswap_status e = work(own)) return e;
  return mark_done(own, side);
}

}  // namespace opswap
