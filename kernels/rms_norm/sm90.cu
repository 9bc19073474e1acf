// rms_norm on sm_90a: RMS norm of each row. One kernel, whose blocks walk over rows with the weight in registers.
#include <algorithm>

#include "rms_norm.gen.h"

#include "common/device/rms.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kVecBytes = 16;  // the widest load of a thread
constexpr int kHeld = 2;       // vectors of a row that a thread keeps in registers; longer rows are read twice
constexpr int kMaxThreads = 1024;
constexpr int kThreadsPerSm = 1024;  // half of an SM's threads keep enough loads in flight and leave room to overlap

// Two rows of sums in turn: one barrier per sum is enough.
struct Scratch {
  float sums[2][kWarp];
};

template <int N>
OPSWAP_DEVICE Vec<Scalar, N> normed(const Vec<Scalar, N> &x, const Vec<Scalar, N> &weight, const RowScale &scale) {
  return from_float<Scalar>(scaled(to_float(x), scale, to_float(weight)));
}

// A block walks over rows with its share of the weight in registers, so the weight is read once per block.
// sass rms_norm_kernel: LDG=128 STG=128
template <int N>
__global__ void __launch_bounds__(kMaxThreads)
    rms_norm_kernel(Scalar *out,           // [rows, length]
                    const Scalar *input,   // [rows, length]
                    const Scalar *weight,  // [length]
                    int64_t rows, int64_t length, int64_t out_stride, int64_t input_stride, float epsilon) {
  OPSWAP_SHARED(Scratch, scratch);
  const int64_t step = int64_t(blockDim.x) * N, first = int64_t(threadIdx.x) * N;
  const int64_t held_end = length < kHeld * step ? length : kHeld * step;
  Vec<Scalar, N> gain[kHeld], x[kHeld];
#pragma unroll
  for (int k = 0; k < kHeld; ++k)
    if (first + k * step < length) gain[k] = load<N>(weight + first + k * step);
  dependency_wait();
  dependency_trigger();
  int turn = 0;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const Scalar *from = input + t * input_stride;
    Scalar *to = out + t * out_stride;
#pragma unroll
    for (int k = 0; k < kHeld; ++k)
      if (first + k * step < held_end) x[k] = load<N>(from + first + k * step);
    const RowScale scale = inverse_rms(length, epsilon, [&](float factor) {
      float sum = 0;
#pragma unroll
      for (int k = 0; k < kHeld; ++k)
        if (first + k * step < held_end) sum += sum_of_squares(to_float(x[k]), factor);
      for (int64_t h = first + kHeld * step; h < length; h += step)
        sum += sum_of_squares(to_float(load<N>(from + h)), factor);
      return block_reduce(sum, Sum{}, scratch.sums[turn ^= 1]);
    });
#pragma unroll
    for (int k = 0; k < kHeld; ++k)
      if (first + k * step < held_end) store(to + first + k * step, normed(x[k], gain[k], scale));
    for (int64_t h = first + kHeld * step; h < length; h += step)
      store(to + h, normed(load<N>(from + h), load<N>(weight + h), scale));
  }
}

bool rows_aligned(const Tensor &t, int64_t rows, int64_t stride) {
  return reinterpret_cast<uintptr_t>(t.data) % kVecBytes == 0 &&
         (rows <= 1 || stride * int64_t(sizeof(Scalar)) % kVecBytes == 0);
}

template <int N>
opswap_status start(const rms_norm_args &a, const opswap_exec &exec) {
  const int64_t vectors = ceil_div<int64_t>(a.H, N);
  const int64_t threads = std::min<int64_t>(kMaxThreads, round_up<int64_t>(std::max<int64_t>(vectors, 1), kWarp));
  const int64_t sms = exec.sm_budget > 0 ? exec.sm_budget : device_sms();
  const Geometry geometry{
      .grid = {std::min(a.T, sms * std::max<int64_t>(1, kThreadsPerSm / threads))}, .block = {threads}, .pdl = true};
  return launch(exec, "rms_norm_kernel", rms_norm_kernel<N>, geometry, a.out.as<Scalar>(), a.input.as<Scalar>(),
                a.weight.as<Scalar>(), a.T, a.H, a.out.stride[0], a.input.stride[0], a.epsilon);
}

OPSWAP_SM90(rms_norm) {
  constexpr int kWide = kVecBytes / int(sizeof(Scalar));
  const bool wide = a.H % kWide == 0 && rows_aligned(a.out, a.T, a.out.stride[0]) &&
                    rows_aligned(a.input, a.T, a.input.stride[0]) && rows_aligned(a.weight, 1, 0);
  return wide ? start<kWide>(a, exec) : start<1>(a, exec);
}

}  // namespace opswap::OPSWAP_PASS
