// copy_async on a CPU: a copy on a stream of its own, ordered by two events. An ordinary copy that is done when the
// call returns; handles of streams and events are refused.
#include "copy_async.gen.h"

#include "common/copy.h"

namespace opswap::OPSWAP_ISA {

static Box box_of(const copy_async_args &a) { return make_box(a.out.shape, a.out.stride, a.input.stride); }

// A CPU has no streams: the copy is done when the call returns, and a handle given here belongs to another device.
static opswap_status refuse_handle(const char *name, int64_t handle) {
  if (!handle) return OPSWAP_OK;
  return fail(OPSWAP_E_VALUE, "copy_async: %s is %lld, needs 0 on a CPU, which has no streams", name,
              static_cast<long long>(handle));
}

OPSWAP_CHECK(copy_async) {
  if (opswap_status e = refuse_handle("stream", a.stream)) return e;
  if (opswap_status e = refuse_handle("ready_event", a.ready_event)) return e;
  return refuse_handle("done_event", a.done_event);
}

OPSWAP_REF(copy_async) {
  copy_box_plain(a.out.data, a.input.data, box_of(a), a.scalar_dtype);
  return OPSWAP_OK;
}

OPSWAP_CPU(copy_async) {
  copy_box(a.out.data, a.input.data, box_of(a), a.scalar_dtype);
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
