// Forks work to a second CUDA stream by events and joins it, also while a graph is captured; nothing to do on the
// emulator, whose launches are done when they return.
#include "side_stream.h"

#include "error.h"

#if defined(OPSWAP_WITH_CUDA) && !defined(OPSWAP_EMULATE)
#include <cuda_runtime_api.h>
#endif

namespace opswap {

#if defined(OPSWAP_WITH_CUDA) && !defined(OPSWAP_EMULATE)

namespace {

cudaStream_t stream_of(void *handle) { return static_cast<cudaStream_t>(handle); }
cudaEvent_t event_of(void *handle) { return static_cast<cudaEvent_t>(handle); }

opswap_status failed(const char *what, const void *event, const void *stream, cudaError_t error) {
  cudaGetLastError();  // returned here, so it must not be found again by a later call
  return fail(OPSWAP_E_LAUNCH,
              "%s failed for event %p and stream %p: %s (%s); pass live handles of the tensors' device", what, event,
              stream, cudaGetErrorName(error), cudaGetErrorString(error));
}

opswap_status captured(void *handle, bool &is) {
  cudaStreamCaptureStatus status{};
  const cudaError_t error = cudaStreamIsCapturing(stream_of(handle), &status);
  is = status != cudaStreamCaptureStatusNone;
  return error ? failed("cudaStreamIsCapturing", nullptr, handle, error) : opswap_status{OPSWAP_OK};
}

opswap_status refuse_uncaptured(const opswap_exec &exec, const SideStream &side) {
  bool call = false, own = false;
  if (opswap_status e = captured(exec.stream, call)) return e;
  if (!call) return OPSWAP_OK;
  if (opswap_status e = captured(side.stream, own)) return e;
  if (own) return OPSWAP_OK;
  return fail(
      OPSWAP_E_ARGUMENT,
      "the call's stream %p is being captured and stream %p is not: pass a ready event, which takes it into the "
      "graph, or no stream",
      exec.stream, side.stream);
}

}  // namespace

opswap_status fork_stream(const opswap_exec &exec, const SideStream &side) {
  if (!side.ready) return side.stream ? refuse_uncaptured(exec, side) : opswap_status{OPSWAP_OK};
  if (cudaError_t e = cudaEventRecord(event_of(side.ready), stream_of(exec.stream)))
    return failed("cudaEventRecord", side.ready, exec.stream, e);
  if (!side.stream) return OPSWAP_OK;  // one stream: its own order is enough
  if (cudaError_t e = cudaStreamWaitEvent(stream_of(side.stream), event_of(side.ready), 0))
    return failed("cudaStreamWaitEvent", side.ready, side.stream, e);
  return OPSWAP_OK;
}

opswap_status mark_done(const opswap_exec &own, const SideStream &side) {
  if (!side.done) return OPSWAP_OK;
  if (cudaError_t e = cudaEventRecord(event_of(side.done), stream_of(own.stream)))
    return failed("cudaEventRecord", side.done, own.stream, e);
  return OPSWAP_OK;
}

#elif defined(OPSWAP_EMULATE)

// The emulator has done a launch when it returns: any order of the handles holds.
opswap_status fork_stream(const opswap_exec &, const SideStream &) { return OPSWAP_OK; }
opswap_status mark_done(const opswap_exec &, const SideStream &) { return OPSWAP_OK; }

#endif

}  // namespace opswap
