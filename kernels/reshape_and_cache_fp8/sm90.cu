// reshape_and_cache_fp8 on sm_90a: each token's key and value as FP8 into its slot of the paged cache. One kernel.
#include "reshape_and_cache_fp8.gen.h"

#include "common/device/fp8_cache.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kThreads = 256;
constexpr int64_t kBlocksPerSm = 4;
constexpr int kMostFeatures = 1024;                   // of a head: op.json requires it
constexpr int kWide = int(kWidest / sizeof(Scalar));  // features of the widest access
constexpr int kHeld = 2;                              // accesses to a key on their way in a lane, and to a value

// Keys or values and where they go.
struct Heads {
  const Scalar *rows;  // [T, KH, features]
  int64_t token_stride, head_stride;
  int features;
  Fp8Cache cache;

  OPSWAP_DEVICE const Scalar *at(int64_t t, int h) const { return rows + t * token_stride + h * head_stride; }
};

// A block is x lanes wide and y heads high; a lane has `Runs` times N features of a key and as many of a value, asked
// for together. Its slot is looked at first, so that a token that is skipped costs nothing more.
// sass reshape_and_cache_fp8_kernel: LDG.128 loads>=64
template <int N, int Runs>
__global__ void __launch_bounds__(kThreads, 1)
    reshape_and_cache_fp8_kernel(const __grid_constant__ Heads keys, const __grid_constant__ Heads values,
                                 Indices slots,  // [tokens], -1 skips
                                 int64_t tokens, int heads, int64_t block_size, double per_block) {
  dependency_wait();
  dependency_trigger();
  const int64_t all = tokens * heads;
  for (int64_t first = int64_t(blockIdx.x) * blockDim.y; first < all; first += int64_t(gridDim.x) * blockDim.y) {
    const int64_t i = first + threadIdx.y, t = i / heads;
    const int h = int(i - t * heads);
    const int64_t slot = i < all ? slots[t] : -1;
    const bool real = slot >= 0;
    HeldHead<Scalar, N, Runs> key, value;
    key.ask(keys.at(t, h), real ? keys.features : 0);
    value.ask(values.at(t, h), real ? values.features : 0);
    const float key_scale = keys.cache.given_of(h), value_scale = values.cache.given_of(h);
    const Cell cell(slot, block_size, per_block);
    const HeadScale by_key = keys.cache.scale_of(key_scale, key.largest());
    const HeadScale by_value = values.cache.scale_of(value_scale, value.largest());
    if (!real) continue;
    keys.cache.store_held(key, keys.features, cell, h, by_key);
    values.cache.store_held(value, values.features, cell, h, by_value);
  }
}

inline Heads heads_of(const Tensor &rows, const Tensor &cache, const Tensor &scales, const Tensor &given) {
  return {.rows = rows.as<Scalar>(),
          .token_stride = rows.stride[0],
          .head_stride = rows.stride[1],
          .features = int(rows.shape[2]),
          .cache = fp8_cache(cache, scales, given)};
}

template <int N, int Runs>
opswap_status start(const reshape_and_cache_fp8_args &a, const opswap_exec &exec) {
  const int64_t lanes = std::clamp<int64_t>(power_of_two(ceil_div<int64_t>(std::max(a.D, a.V), N * Runs)), 1, kWarp);
  const int64_t high = kThreads / lanes, tiles = ceil_div(a.S * a.KH, high);
  const Geometry geometry{.grid = {std::min(tiles, sms_of(exec) * kBlocksPerSm)}, .block = {lanes, high}, .pdl = true};
  return launch(exec, "reshape_and_cache_fp8_kernel", reshape_and_cache_fp8_kernel<N, Runs>, geometry,
                heads_of(a.key, a.key_cache, a.k_scale_cache, a.k_scale),
                heads_of(a.value, a.value_cache, a.v_scale_cache, a.v_scale), indices_of(a.slot_mapping), a.S,
                int(a.KH), a.BS, per_block_of(a.BS));
}

template <int N>
opswap_status start(const reshape_and_cache_fp8_args &a, const opswap_exec &exec) {
  return std::max(a.D, a.V) <= kHeld * N * kWarp ? start<N, kHeld>(a, exec)
                                                 : start<N, kMostFeatures / (N * kWarp)>(a, exec);
}

OPSWAP_SM90(reshape_and_cache_fp8) {
  const bool wide = a.D % kWide == 0 && a.V % kWide == 0 && fits(a.key, kWide) && fits(a.value, kWide) &&
                    fits(a.key_cache, kWide) && fits(a.value_cache, kWide);
  return wide ? start<kWide>(a, exec) : start<1>(a, exec);
}

}  // namespace opswap::OPSWAP_PASS
