// attention_merge on sm_90a: states of attention put together by their log-sum-exp. A thread sums 16 bytes of a row, or
// one element of it, over all states.
#include "attention_merge.gen.h"

#include "common/device/access.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kMergeThreads = 256;
constexpr int kUnderWay = 4;  // states whose values a thread has asked for at once

// A stack of states, or the one state of a tensor without a stack.
struct MergeStates {
  const void *values;  // [count, tokens, heads, D]
  const float *lse;    // [count, tokens, heads]
  int64_t count;
  int64_t state_stride, token_stride, head_stride;
  int64_t lse_state_stride, lse_token_stride, lse_head_stride;

  OPSWAP_DEVICE float lse_of(int64_t n, int64_t t, int64_t h) const {
    return load<1>(lse + n * lse_state_stride + t * lse_token_stride + h * lse_head_stride)[0];
  }
  OPSWAP_DEVICE int64_t row_of(int64_t n, int64_t t, int64_t h) const {
    return n * state_stride + t * token_stride + h * head_stride;
  }
};

struct MergeOut {
  Scalar *out;  // [tokens, heads, D]
  float *lse;   // [tokens, heads] or null
  int64_t tokens, heads, columns, token_stride, head_stride, lse_token_stride, lse_head_stride;
  DType part;
};

// Sums of a run of a row, relative to the largest lse of all its states.
template <int N>
struct MergeSums {
  float most;
  float total = 0;
  Vec<float, N> sum{};

  OPSWAP_DEVICE void add(const MergeStates &s, DType part, int64_t t, int64_t h, int64_t at) {
    for (int64_t first = 0; first < s.count; first += kUnderWay) {
      float lse[kUnderWay];
      Vec<float, N> x[kUnderWay];
#pragma unroll
      for (int i = 0; i < kUnderWay; ++i) {
        lse[i] = first + i < s.count ? s.lse_of(first + i, t, h) : -INFINITY;
        if (lse[i] != -INFINITY) x[i] = load_floats<N>(s.values, part, s.row_of(first + i, t, h) + at);
      }
#pragma unroll
      for (int i = 0; i < kUnderWay; ++i) {
        if (lse[i] == -INFINITY) continue;
        const float weight = expf(lse[i] - most);
        total += weight;
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += weight * x[i][j];
      }
    }
  }
};

// The largest lse; NaN is left to the weights, which it makes NaN.
OPSWAP_DEVICE float largest_lse(float most, const MergeStates &s, int64_t t, int64_t h) {
  for (int64_t n = 0; n < s.count; ++n) most = fmaxf(most, s.lse_of(n, t, h));
  return most;
}

// sass attention_merge_kernel: LDG.128
template <int N>
__global__ void __launch_bounds__(kMergeThreads)
    attention_merge_kernel(const __grid_constant__ MergeOut out, const __grid_constant__ MergeStates states,
                           const __grid_constant__ MergeStates other) {
  dependency_wait();
  dependency_trigger();
  const int64_t runs = out.columns / N, all = out.tokens * out.heads * runs;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < all; i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t row = i / runs, at = i % runs * N, t = row / out.heads, h = row % out.heads;
    MergeSums<N> sums{largest_lse(largest_lse(-INFINITY, states, t, h), other, t, h)};
    sums.add(states, out.part, t, h, at);
    sums.add(other, out.part, t, h, at);
    const float share = sums.total == 0 ? 0 : 1 / sums.total;
#pragma unroll
    for (int j = 0; j < N; ++j) sums.sum[j] *= share;
    store_floats(out.out + t * out.token_stride + h * out.head_stride + at, sums.sum);
    if (out.lse && at == 0)
      store(out.lse + t * out.lse_token_stride + h * out.lse_head_stride,
            Vec<float, 1>{sums.total == 0 ? -INFINITY : sums.most + logf(sums.total)});
  }
}

inline MergeStates stack_of(const Tensor &x, const Tensor &lse) {
  return {x.data,      lse.as<float>(), x.shape[0],    x.stride[0],  x.stride[1],
          x.stride[2], lse.stride[0],   lse.stride[1], lse.stride[2]};
}
inline MergeStates one_of(const Tensor &x, const Tensor &lse) {
  if (!x) return {};
  return {x.data, lse.as<float>(), 1, 0, x.stride[0], x.stride[1], 0, lse.stride[0], lse.stride[1]};
}

template <int N>
opswap_status start(const attention_merge_args &a, const opswap_exec &exec) {
  const MergeOut out{a.out.as<Scalar>(),
                     a.lse.as<float>(),
                     a.T,
                     a.QH,
                     a.D,
                     a.out.stride[0],
                     a.out.stride[1],
                     a.lse ? a.lse.stride[0] : 0,
                     a.lse ? a.lse.stride[1] : 0,
                     a.part_dtype};
  const int64_t blocks = ceil_div<int64_t>(a.T * a.QH * (a.D / N), kMergeThreads);
  const Geometry geometry{.grid = {std::min(blocks, sms_of(exec) * 8)}, .block = {kMergeThreads}, .pdl = true};
  return launch(exec, "attention_merge_kernel", attention_merge_kernel<N>, geometry, out,
                stack_of(a.states, a.states_lse), one_of(a.other, a.other_lse));
}

OPSWAP_SM90(attention_merge) {
  constexpr int kWide = 8;
  if (!a.T || !a.QH || !a.D) return OPSWAP_OK;
  const bool wide = a.D % kWide == 0 && fits(a.out, kWide) && fits(a.states, kWide) && fits(a.other, kWide);
  return wide ? start<kWide>(a, exec) : start<1>(a, exec);
}

}  // namespace opswap::OPSWAP_PASS
