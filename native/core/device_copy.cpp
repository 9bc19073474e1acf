// Copies strided rows between host and device: by cudaMemcpy, or on the emulator by memcpy.
#include "device_copy.h"

#include <cinttypes>
#include <cstring>

#include "error.h"

#if defined(OPSWAP_WITH_CUDA) && !defined(OPSWAP_EMULATE)
#include <cuda_runtime_api.h>
#endif

namespace opswap {

#if defined(OPSWAP_WITH_CUDA) && !defined(OPSWAP_EMULATE)

namespace {

// Rows that repeat or overlap, which the engine's two-dimensional copy does not take.
bool one_by_one(const Rows &r) { return r.count > 1 && (r.to_pitch < r.width || r.from_pitch < r.width); }

Rows row(const Rows &r, int64_t i) {
  return {static_cast<char *>(r.to) + i * r.to_pitch,
          static_cast<const char *>(r.from) + i * r.from_pitch,
          r.to_pitch,
          r.from_pitch,
          r.width,
          1};
}

}  // namespace

opswap_status copy_memory(const opswap_exec &exec, const Rows &r) {
  if (r.width <= 0 || r.count <= 0) return OPSWAP_OK;
  if (one_by_one(r)) {
    opswap_status status = OPSWAP_OK;
    for (int64_t i = 0; i < r.count && !status; ++i) status = copy_memory(exec, row(r, i));
    return status;
  }
  const auto stream = static_cast<cudaStream_t>(exec.stream);
  const cudaError_t error = r.count == 1
                                ? cudaMemcpyAsync(r.to, r.from, size_t(r.width), cudaMemcpyDefault, stream)
                                : cudaMemcpy2DAsync(r.to, size_t(r.to_pitch), r.from, size_t(r.from_pitch),
                                                    size_t(r.width), size_t(r.count), cudaMemcpyDefault, stream);
  if (!error) return OPSWAP_OK;
  cudaGetLastError();  // returned here, so it must not be found again by a later call
  return fail(OPSWAP_E_LAUNCH,
              "a copy of %" PRId64 " rows of %" PRId64 " bytes from %p (pitch %" PRId64 ") to %p (pitch %" PRId64
              ") did not start: %s (%s)",
              r.count, r.width, r.from, r.from_pitch, r.to, r.to_pitch, cudaGetErrorName(error),
              cudaGetErrorString(error));
}

#elif defined(OPSWAP_EMULATE)

opswap_status copy_memory(const opswap_exec &, const Rows &r) {
  for (int64_t i = 0; i < r.count && r.width > 0; ++i)
    std::memcpy(static_cast<char *>(r.to) + i * r.to_pitch, static_cast<const char *>(r.from) + i * r.from_pitch,
                size_t(r.width));
  return OPSWAP_OK;
}

#endif

}  // namespace opswap
