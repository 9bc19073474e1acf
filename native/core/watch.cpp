// Hands a call to the op's recording, and to its shadow before and after it runs.
#include "watch.h"

#include "recording.h"
#include "shadow.h"

namespace opswap {

opswap_status run_watched(Op &op, const Bound &bound, LiveCall live) {
  std::shared_ptr<Shadow> shadow;
  std::shared_ptr<Recording> recording;
  {
    std::lock_guard lock(op.watch_mutex);
    shadow = op.shadow;
    recording = op.recording;
    set_watched(op);  // one that has ended by itself is not looked for again
  }
  if (recording) recording->see(bound, live.stream);
  Shadow::Chosen chosen;
  if (shadow) shadow->before(bound, live.stream, chosen);
  const opswap_status status = live.run(live.context);
  if (chosen.bucket) shadow->after(status, chosen, live.impl);
  return status;
}

void set_watched(Op &op) {
  op.watched = (op.shadow && op.shadow->running()) || (op.recording && op.recording->running());
}

}  // namespace opswap
