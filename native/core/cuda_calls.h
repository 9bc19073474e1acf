// What calls of the CUDA runtime have in common that must leave no trace in the caller's: no error, no broken capture.
#pragma once

#include <cuda_runtime_api.h>

namespace opswap {

// An error that is answered here must not be found again by a later call.
inline bool went_well(cudaError_t e) {
  if (e) cudaGetLastError();
  return !e;
}

// While any stream is captured, this thread's questions about events would end the capture without it.
class AsksFreely {
 public:
  AsksFreely() { went_well(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  ~AsksFreely() { went_well(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  AsksFreely(const AsksFreely &) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

inline bool is_captured(cudaStream_t stream) {
  cudaStreamCaptureStatus status{};
  return !went_well(cudaStreamIsCapturing(stream, &status)) || status != cudaStreamCaptureStatusNone;
}

}  // namespace opswap
