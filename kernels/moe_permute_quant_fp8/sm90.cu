// moe_permute_quant_fp8 on sm_90a: moe_permute whose rows become FP8 codes with scales. The order first, then a kernel
// that quantises each token once and writes it to all of its places.
#include "moe_permute_quant_fp8.gen.h"

#include "common/device/fp8_rows.h"
#include "common/device/permute.h"

namespace opswap::OPSWAP_PASS {

constexpr int kHeld = 4;  // runs of a block of features that a thread keeps in registers; longer ones are read twice
constexpr int kMostThreads = 512;
constexpr int64_t kThreads = 256, kThreadsPerSm = 1024;

// As integers, where NaN is above infinity.
template <int N>
OPSWAP_DEVICE uint32_t largest_magnitude(uint32_t most, const Vec<Scalar, N> &x) {
#pragma unroll
  for (int i = 0; i < N; ++i) most = std::max(most, __float_as_uint(to_float(x[i])) & 0x7fffffffu);
  return most;
}

// Scales of two passes in turn, so that one barrier per pass is enough.
struct Scratch {
  int64_t rows[kWarp];
  float scales[2][kMostThreads];
  uint32_t most[2][kMostThreads / kWarp];
};

// Over blockDim.x threads: lanes of a warp, a power of two of them, or the whole block.
OPSWAP_DEVICE uint32_t team_max(uint32_t x, uint32_t *warps) {
  const int team = int(blockDim.x), lanes = team < kWarp ? team : kWarp;
  for (int distance = lanes / 2; distance > 0; distance /= 2) x = std::max(x, __shfl_xor_sync(kAllLanes, x, distance));
  if (team <= kWarp) return x;
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = x;
  __syncthreads();
  for (int w = 0; w < team / kWarp; ++w) x = std::max(x, warps[w]);
  return x;
}

// A pass takes y blocks of features, each by x threads: read once, quantised, and written to all of the token's places.
// sass moe_expand_quant_kernel: LDG.128
template <int N>
__global__ void __launch_bounds__(kMostThreads)
    moe_expand_quant_kernel(e4m3 *permuted,       // [R, groups * length]
                            float *scale,         // [R, groups]
                            const Scalar *input,  // [tokens, groups * length]
                            const __grid_constant__ Permutation p, int64_t tokens, int64_t groups, int64_t length,
                            int64_t permuted_stride, int64_t scale_stride, int64_t input_stride) {
  OPSWAP_SHARED(Scratch, scratch);
  dependency_wait();
  dependency_trigger();
  const Few few(p);
  const int64_t lane = threadIdx.x * N, step = blockDim.x * N, high = blockDim.y;
  const int thread = int(threadIdx.y * blockDim.x + threadIdx.x), threads = int(blockDim.x * blockDim.y);
  int turn = 0;
  for (int64_t t = blockIdx.x; t < tokens; t += gridDim.x)
    for (int64_t begin = 0; begin < p.choices; begin += kWarp) {
      const int count = list_rows(p, few, t, begin, blockIdx.y == 0, scratch.rows);
      for (int64_t g0 = blockIdx.y * high; g0 < groups; g0 += gridDim.y * high, turn ^= 1) {
        const int64_t g = g0 + threadIdx.y, end = g < groups ? length : 0;
        const Scalar *from = input + t * input_stride + g * length;
        Vec<Scalar, N> x[kHeld];
        uint32_t most = 0;
#pragma unroll
        for (int k = 0; k < kHeld; ++k)
          if (lane + k * step < end) x[k] = load<N>(from + lane + k * step);
#pragma unroll
        for (int k = 0; k < kHeld; ++k)
          if (lane + k * step < end) most = largest_magnitude(most, x[k]);
        for (int64_t at = lane + kHeld * step; at < end; at += step) most = largest_magnitude(most, load<N>(from + at));
        most = std::max(team_max(most, scratch.most[turn]), __float_as_uint(kActivationFloor));
        const float divisor = __fdiv_rn(__uint_as_float(most), kLargestCode);
        const Divisor by(divisor);
        if (threadIdx.x == 0) scratch.scales[turn][threadIdx.y] = divisor;
        const auto write = [&](int64_t at, const Vec<Scalar, N> &run) {
          const Vec<e4m3, N> codes = codes_of(to_float(run), by);
          for (int k = 0; k < count; ++k)
            if (scratch.rows[k] >= 0) store(permuted + scratch.rows[k] * permuted_stride + g * length + at, codes);
        };
#pragma unroll
        for (int k = 0; k < kHeld; ++k)
          if (lane + k * step < end) write(lane + k * step, x[k]);
        for (int64_t at = lane + kHeld * step; at < end; at += step) write(at, load<N>(from + at));
        __syncthreads();
        const int here = int(groups - g0 < high ? groups - g0 : high);
        for (int i = thread; i < count * here; i += threads)
          if (scratch.rows[i / here] >= 0)
            store(scale + scratch.rows[i / here] * scale_stride + g0 + i % here,
                  Vec<float, 1>{scratch.scales[turn][i % here]});
      }
    }
}

template <int N>
opswap_status start(const moe_permute_quant_fp8_args &a, const opswap_exec &exec, const Permutation &p) {
  const int64_t length = a.H / a.G, runs = ceil_div<int64_t>(length, N), sms = sms_of(exec);
  const int64_t team = runs <= kHeld * kWarp
                           ? std::min<int64_t>(power_of_two(runs), kWarp)
                           : std::min<int64_t>(power_of_two(ceil_div<int64_t>(runs, kHeld)), kMostThreads);
  const int64_t high = team > kWarp ? 1 : std::min(kThreads / team, round_up<int64_t>(a.G, kWarp / team));
  const int64_t parts = a.T < sms ? std::clamp<int64_t>(ceil_div(a.G, high), 1, ceil_div(sms, a.T + 1)) : 1;
  const Geometry geometry{.grid = {std::min(a.T, sms * (kThreadsPerSm / (team * high))), parts},
                          .block = {team, high},
                          .smem = p.memory(),
                          .pdl = true};
  return launch(exec, "moe_expand_quant_kernel", moe_expand_quant_kernel<N>, geometry, a.permuted.as<e4m3>(),
                a.scale.as<float>(), a.input.as<Scalar>(), p, a.T, a.G, length, a.permuted.stride[0], a.scale.stride[0],
                a.input.stride[0]);
}

OPSWAP_SM90_CAN(moe_permute_quant_fp8) { return permutation_refusal(a); }
OPSWAP_SM90_WORKSPACE(moe_permute_quant_fp8) { return size_t(permutation_bytes(a)); }

OPSWAP_SM90(moe_permute_quant_fp8) {
  Permutation p;
  if (opswap_status e = order_by_expert(a, exec, p)) return e;
  constexpr int kWide = int(kWidest / sizeof(Scalar));
  const bool wide = a.H / a.G % kWide == 0 && fits(a.input, kWide) && fits(a.permuted, kWide);
  return wide ? start<kWide>(a, exec, p) : start<1>(a, exec, p);
}

}  // namespace opswap::OPSWAP_PASS
