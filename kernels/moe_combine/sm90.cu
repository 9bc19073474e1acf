// moe_combine on sm_90a: the weighted sum of each token's rows, back from its experts. A thread sums one run of
// features over all of a token's rows.
#include "moe_combine.gen.h"

#include "common/device/access.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kHeld = 8;  // rows of a thread that are on their way at once

struct Choices {
  Indices row_of;        // [T, count], -1 skips
  const float *weights;  // [T, count]
  int64_t count, row_of_stride, weights_stride;
};

// A block's list of the rows of up to a warp's worth of choices.
struct Listed {
  int64_t row[kWarp];
  float weight[kWarp];
};

// A thread sums one run of features over all of a token's rows, in registers.
// sass moe_combine_kernel: LDG.128 STG=128
template <int N>
__global__ void __launch_bounds__(256)
    moe_combine_kernel(Scalar *out,           // [tokens, features]
                       const Scalar *rows,    // [R, features]
                       const Scalar *shared,  // [tokens, features] or null
                       const __grid_constant__ Choices c, int64_t tokens, int64_t features, int64_t out_stride,
                       int64_t rows_stride, int64_t shared_stride) {
  OPSWAP_SHARED(Listed, listed);
  dependency_wait();
  dependency_trigger();
  const int64_t width = int64_t(blockDim.x) * N, start = blockIdx.y * width;
  for (int64_t t = blockIdx.x; t < tokens; t += gridDim.x)
    for (int64_t base = start; base < features; base += gridDim.y * width) {
      const int64_t at = base + threadIdx.x * N;
      Vec<float, N> sum{};
      if (shared && at < features) sum = to_float(load<N>(shared + t * shared_stride + at));
      for (int64_t begin = 0; begin < c.count; begin += kWarp) {
        const int count = int(c.count - begin < kWarp ? c.count - begin : kWarp);
        if (base == start || c.count > kWarp) {
          __syncthreads();  // the readers of the list before are done
          if (int(threadIdx.x) < count) {
            const int64_t k = begin + threadIdx.x;
            store_shared(listed.row + threadIdx.x, Vec<int64_t, 1>{c.row_of[t * c.row_of_stride + k]});
            store_shared(listed.weight + threadIdx.x, load<1>(c.weights + t * c.weights_stride + k));
          }
          __syncthreads();
        }
        for (int first = 0; first < count; first += kHeld) {
          Vec<Scalar, N> x[kHeld];
#pragma unroll
          for (int k = 0; k < kHeld; ++k)
            if (first + k < count && listed.row[first + k] >= 0 && at < features)
              x[k] = load<N>(rows + listed.row[first + k] * rows_stride + at);
#pragma unroll
          for (int k = 0; k < kHeld; ++k)
            if (first + k < count && listed.row[first + k] >= 0 && at < features)
#pragma unroll
              for (int i = 0; i < N; ++i) sum[i] += listed.weight[first + k] * to_float(x[k][i]);
        }
      }
      if (at < features) store(out + t * out_stride + at, from_float<Scalar>(sum));
    }
}

template <int N>
opswap_status start(const moe_combine_args &a, const opswap_exec &exec) {
  const Choices choices{indices_of(a.row_of), a.topk_weights.as<float>(), a.K, a.row_of.stride[0],
                        a.topk_weights.stride[0]};
  return launch(exec, "moe_combine_kernel", moe_combine_kernel<N>,
                token_geometry(exec, a.T, ceil_div<int64_t>(a.H, N), 1), a.out.as<Scalar>(), a.rows.as<Scalar>(),
                a.shared.as<Scalar>(), choices, a.T, a.H, a.out.stride[0], a.rows.stride[0],
                a.shared ? a.shared.stride[0] : 0);
}

OPSWAP_SM90(moe_combine) {
  constexpr int kWide = int(kWidest / sizeof(Scalar));
  const bool wide = a.H % kWide == 0 && fits(a.out, kWide) && fits(a.rows, kWide) && fits(a.shared, kWide);
  return wide ? start<kWide>(a, exec) : start<1>(a, exec);
}

}  // namespace opswap::OPSWAP_PASS
