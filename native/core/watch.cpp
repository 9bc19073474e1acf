// Hands a call to the op's recording, then to its shadow.
#include "watch.h"

#include "recording.h"
#include "shadow.h"

namespace opswap {

opswap_status run_watched(Op &op, const Bound &bound, const std::function<opswap_status()> &live) {
  std::shared_ptr<Shadow> shadow;
  std::shared_ptr<Recording> recording;
  {
    std::lock_guard lock(op.watch_mutex);
    shadow = op.shadow;
    recording = op.recording;
  }
  if (recording) recording->see(bound);
  return shadow ? shadow->around(bound, live) : live();
}

void set_watched(Op &op) {
  op.watched = (op.shadow && op.shadow->running()) || (op.recording && op.recording->running());
}

}  // namespace opswap
