// copy_async on sm_90a: a copy on a stream of its own, ordered by two events. The copy kernels, launched on the
// caller's second stream.
#include "copy_async.gen.h"

#include "common/device/copy_tensor.h"
#include "side_stream.h"

namespace opswap::OPSWAP_PASS {

// sass copy_boxes_kernel<uint4, 1>: LDG=128 STG=128

OPSWAP_SM90_CAN(copy_async) { return copy_refusal(a.out, a.input); }

OPSWAP_SM90(copy_async) {
  const auto copy = [&](const opswap_exec &own) { return copy_tensor(own, a.out, a.input); };
  return on_side_stream(exec, side_stream(a.stream, a.ready_event, a.done_event), copy);
}

}  // namespace opswap::OPSWAP_PASS
