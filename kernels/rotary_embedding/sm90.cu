// rotary_embedding on sm_90a: rotation of query and key heads by the token's position, in place. One kernel, whose
// threads keep their cosines and sines over all of their heads.
#include "rotary_embedding.gen.h"

#include "common/device/rotate.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kHeld = 2;           // heads of a thread that are on their way at once
constexpr int64_t kThreads = 256;  // of a block, at most
constexpr int64_t kThreadsPerSm = 1024;

struct Heads {
  Scalar *data;  // [tokens, count, D]
  int64_t count, token_stride, head_stride;
};

struct Angles {
  const void *data;  // [P, R]: R/2 cosines, then R/2 sines
  int64_t stride;
  DType dtype;
};

// A block is x pairs wide, y heads deep and z tokens high. A thread keeps its cosines and sines over all of its heads.
// sass rotary_embedding_kernel: LDG.128 STG=128
template <int N, bool Neox>
__global__ void __launch_bounds__(kThreads) rotary_embedding_kernel(Heads query, Heads key, Angles angles,
                                                                    Indices positions,  // [tokens]
                                                                    int64_t tokens, int half) {
  dependency_wait();
  dependency_trigger();
  const int64_t heads = query.count + key.count;
  for (int64_t t = int64_t(blockIdx.x) * blockDim.z + threadIdx.z; t < tokens; t += int64_t(gridDim.x) * blockDim.z) {
    const int64_t row = positions[t] * angles.stride;
    const auto head_at = [&](int64_t h) {
      return h < query.count ? query.data + t * query.token_stride + h * query.head_stride
                             : key.data + t * key.token_stride + (h - query.count) * key.head_stride;
    };
    for (int i = threadIdx.x * N; i < half; i += blockDim.x * N) {
      const Pairs<N> angle{load_floats<N>(angles.data, angles.dtype, row + i),
                           load_floats<N>(angles.data, angles.dtype, row + half + i)};
      const int first = Neox ? i : 2 * i, second = Neox ? half + i : 2 * i + 1;
      for (int64_t h = threadIdx.y; h < heads; h += kHeld * blockDim.y) {
        Pairs<N> x[kHeld];
#pragma unroll
        for (int k = 0; k < kHeld; ++k)
          if (h + k * blockDim.y < heads) {
            const Scalar *head = head_at(h + k * blockDim.y);
            x[k] = load_pairs<Neox, N>(head + first, head + second);
          }
#pragma unroll
        for (int k = 0; k < kHeld; ++k)
          if (h + k * blockDim.y < heads) {
            Scalar *head = head_at(h + k * blockDim.y);
            const Pairs<N> turned = rotated(x[k], angle);
            if constexpr (kTogether<Neox, N>) {
              store_floats(head + first, woven(turned));
            } else {
              store_floats(head + first, turned.first);
              store_floats(head + second, turned.second);
            }
          }
      }
    }
  }
}

Heads heads_of(const Tensor &t) { return t ? Heads{t.as<Scalar>(), t.shape[1], t.stride[0], t.stride[1]} : Heads{}; }

// Few tokens: all heads at once. Many: a warp for each token, so that its angles are read once.
template <int N, bool Neox>
opswap_status start(const rotary_embedding_args &a, const opswap_exec &exec) {
  const int64_t half = a.R / 2, heads = a.QH + (a.key ? a.KH : 0), threads = sms_of(exec) * kThreadsPerSm;
  if (!half || !heads) return OPSWAP_OK;
  const int64_t lanes = std::min(ceil_div<int64_t>(half, N), kThreads);
  const int64_t warp = ceil_div<int64_t>(kWarp, lanes), deepest = std::max(warp, kThreads / lanes);
  const int64_t deep = std::clamp(ceil_div(threads, lanes * std::max<int64_t>(a.T, 1)), warp, deepest);
  const int64_t depth = ceil_div(heads, ceil_div(heads, deep));  // no more than share the heads evenly
  const int64_t height = std::clamp<int64_t>(kThreads / 2 / (lanes * depth), 1, 64);
  const Geometry geometry{.grid = {std::min(ceil_div(a.T, height), threads / (lanes * depth * height) + 1)},
                          .block = {lanes, depth, height},
                          .pdl = true};
  return launch(exec, "rotary_embedding_kernel", rotary_embedding_kernel<N, Neox>, geometry, heads_of(a.query),
                heads_of(a.key), Angles{a.cos_sin_cache.data, a.cos_sin_cache.stride[0], a.cos_sin_cache.dtype},
                indices_of(a.positions), a.T, int(half));
}

template <bool Neox>
opswap_status start(const rotary_embedding_args &a, const opswap_exec &exec) {
  constexpr int kWide = kWidePairs<Neox, Scalar>;
  const bool wide = a.R / 2 % kWide == 0 && placement(a.query) % kWidest == 0 &&
                    (!a.key || placement(a.key) % kWidest == 0) && fits(a.cos_sin_cache, kWide);
  return wide ? start<kWide, Neox>(a, exec) : start<1, Neox>(a, exec);
}

OPSWAP_SM90(rotary_embedding) { return a.is_neox ? start<true>(a, exec) : start<false>(a, exec); }

}  // namespace opswap::OPSWAP_PASS
