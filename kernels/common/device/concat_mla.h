// Tokens of multi-head latent attention on their way into a paged cache, and their query parts: rotation, and the store
// of latents and key part in the format that a room's `Cache` has.
#pragma once

#include "common/device/rotate.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kTokenLanes = 16;  // have a token: 512 latents of 16 bits are four accesses of 16 bytes for each
constexpr int kMlaThreads = 128;
constexpr int kTokensPerBlock = kMlaThreads / kTokenLanes;
constexpr int64_t kMlaThreadsPerSm = 1024;
constexpr int kLatentGroup = 128;  // latents that may share a scale
constexpr int kMostPairs = 64;     // of a part that is rotated: op.json requires it

// Strides count elements.
struct MlaTokens {
  const Scalar *kv_c;  // [tokens, latents]
  const Scalar *k_pe;  // [tokens, 2 * half]
  Scalar *k_pe_out;    // the same, or null
  const Scalar *q_pe;  // [tokens, heads, 2 * half]
  Scalar *q_pe_out;    // the same
  const void *cos_sin;  // [P, 2 * half]: cosines, then sines
  int64_t kv_c_stride, k_pe_stride, k_pe_out_stride, q_stride, q_head_stride, q_out_stride, q_out_head_stride;
  int64_t cos_sin_stride;
  DType cos_sin_dtype;
  Indices positions;  // [tokens]
  Indices slots;      // [stored], -1 is not stored
  int64_t tokens, stored, block_size;
  int latents, half, heads;
  int head_lanes;  // of a token's lanes that have one head
};

// What one lane has of up to 512 latents, as they lie in memory: units of N, apart by what all lanes take at once.
template <int N>
struct Latents {
  static constexpr int kStep = kTokenLanes * N, kUnits = kStep < kLatentGroup / 4 ? kLatentGroup / kStep : 4;
  static constexpr int kAtOnce = kStep * kUnits;
  Vec<Scalar, N> unit[kUnits];

  OPSWAP_DEVICE static int at(int u) { return int(threadIdx.x) % kTokenLanes * N + u * kStep; }
  OPSWAP_DEVICE void load_from(const Scalar *row, int begin, int end) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      unit[u] = {};
      if (begin + at(u) < end) unit[u] = load<N>(row + begin + at(u));
    }
  }
};

// What one lane has of a part that is rotated, or of its cosines and sines: units of N pairs.
template <int N, bool Neox>
struct Part {
  static constexpr int kUnits = kMostPairs > kTokenLanes * N ? kMostPairs / (kTokenLanes * N) : 1;
  Pairs<N> unit[kUnits];

  // body(unit, its first pair).
  template <class Body>
  OPSWAP_DEVICE static void each(const MlaTokens &a, Body &&body) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      const int pair = (int(threadIdx.x) % a.head_lanes + u * a.head_lanes) * N;
      if (pair < a.half) body(u, pair);
    }
  }

  OPSWAP_DEVICE void load_from(const MlaTokens &a, const Scalar *row) {
    each(a, [&](int u, int pair) {
      const int first = Neox ? pair : 2 * pair;
      unit[u] = load_pairs<Neox, N>(row + first, row + (Neox ? a.half + pair : first + 1));
    });
  }

  OPSWAP_DEVICE void load_angles(const MlaTokens &a, int64_t position) {
    each(a, [&](int u, int pair) {
      const int64_t at = position * a.cos_sin_stride + pair;
      unit[u] = {load_floats<N>(a.cos_sin, a.cos_sin_dtype, at), load_floats<N>(a.cos_sin, a.cos_sin_dtype, at + a.half)};
    });
  }

  // The product with the cosine is rounded, the sum of it and the other product as well, as on a CPU.
  OPSWAP_DEVICE void rotate(const Part &angle) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u)
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float x = unit[u].first[i], y = unit[u].second[i];
        const float cos = angle.unit[u].first[i], sin = angle.unit[u].second[i];
        unit[u].first[i] = fmaf(-y, sin, x * cos);
        unit[u].second[i] = fmaf(x, sin, y * cos);
      }
  }

  // body(offset in the part, features).
  template <class Body>
  OPSWAP_DEVICE void each_run(const MlaTokens &a, Body &&body) const {
    each(a, [&](int u, int pair) {
      if constexpr (kTogether<Neox, N>) {
        body(2 * pair, woven(unit[u]));
      } else {
        body(Neox ? pair : 2 * pair, unit[u].first);
        body(Neox ? a.half + pair : 2 * pair + 1, unit[u].second);
      }
    });
  }

  OPSWAP_DEVICE void store_to(const MlaTokens &a, Scalar *row) const {
    each_run(a, [&](int at, const auto &run) { store_floats(row + at, run); });
  }
};

// Slots below 2^32, all that fit a card, divide in a few instructions.
OPSWAP_DEVICE int64_t token_at(int64_t slot, int64_t block_size, int64_t block_stride, int64_t slot_stride) {
  const bool small = slot >> 32 == 0 && block_size >> 32 == 0;
  const int64_t block = small ? int64_t(uint32_t(slot) / uint32_t(block_size)) : slot / block_size;
  return block * block_stride + (slot - block * block_size) * slot_stride;
}

// Query heads of the tokens that a block has. A lane keeps its angles over its heads.
template <int N, bool Neox>
OPSWAP_DEVICE void rotate_queries(const MlaTokens &a, int share, int shares) {
  constexpr int kHeld = kTogether<Neox, N> ? 4 : 2;  // heads of a lane on their way at once: four accesses
  const int apart = kTokenLanes / a.head_lanes, own = int(threadIdx.x) % kTokenLanes / a.head_lanes;
  for (int64_t t = int64_t(blockIdx.x) * kTokensPerBlock + threadIdx.x / kTokenLanes; t < a.tokens;
       t += int64_t(gridDim.x) * kTokensPerBlock) {
    const int64_t position = a.positions[t];
    Part<N, Neox> angle;
    const int first = share * kHeld * apart;
    for (int begin = first; begin < a.heads; begin += shares * kHeld * apart) {
      Part<N, Neox> x[kHeld];
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        const int h = begin + k * apart + own;
        if (h < a.heads) x[k].load_from(a, a.q_pe + t * a.q_stride + h * a.q_head_stride);
      }
      if (begin == first) angle.load_angles(a, position);
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        const int h = begin + k * apart + own;
        if (h >= a.heads) continue;
        x[k].rotate(angle);
        x[k].store_to(a, a.q_pe_out + t * a.q_out_stride + h * a.q_out_head_stride);
      }
    }
  }
}

// Blocks of row 0 along y store tokens, those of other rows share the query heads. What a token needs comes in two
// rounds: position, slot, latents and key part; then the angles, which hang on the position.
template <int N, int Paired, bool Neox, class Cache>
__global__ void __launch_bounds__(kMlaThreads)
    concat_mla_kernel(const __grid_constant__ MlaTokens a, const __grid_constant__ Cache cache) {
  dependency_wait();
  dependency_trigger();
  if (blockIdx.y) return rotate_queries<Paired, Neox>(a, int(blockIdx.y) - 1, int(gridDim.y) - 1);
  const int lane = int(threadIdx.x) % kTokenLanes;
  for (int64_t first = int64_t(blockIdx.x) * kTokensPerBlock; first < a.tokens;
       first += int64_t(gridDim.x) * kTokensPerBlock) {
    const int64_t t = first + threadIdx.x / kTokenLanes;
    const bool rotates = t < a.tokens && lane < a.head_lanes;
    const int64_t slot = t < a.stored ? a.slots[t] : -1, position = rotates ? a.positions[t] : 0;
    const Scalar *latents = a.kv_c + t * a.kv_c_stride;
    Latents<N> x;
    x.load_from(latents, 0, t < a.stored ? a.latents : 0);
    Part<Paired, Neox> key, angle;
    if (rotates) key.load_from(a, a.k_pe + t * a.k_pe_stride);
    if (rotates) angle.load_angles(a, position);
    const int64_t token = token_at(slot, a.block_size, cache.block_stride, cache.slot_stride);
    for (int begin = 0;;) {
      cache.store_latents(token, slot >= 0, x, begin, a.latents);  // all lanes: groups are theirs together
      begin += Latents<N>::kAtOnce;
      if (begin >= a.latents) break;
      x.load_from(latents, begin, slot >= 0 ? a.latents : 0);
    }
    if (!rotates) continue;
    key.rotate(angle);
    if (a.k_pe_out) key.store_to(a, a.k_pe_out + t * a.k_pe_out_stride);
    if (slot >= 0) key.each_run(a, [&](int at, const auto &run) { cache.store_key(token, at, run, a.latents); });
  }
}

inline int64_t stride_of(const Tensor &t, int dim) { return t ? t.stride[dim] : 0; }

template <class Args>
MlaTokens described(const Args &a, int64_t head_lanes) {
  return {.kv_c = a.kv_c.template as<Scalar>(),
          .k_pe = a.k_pe.template as<Scalar>(),
          .k_pe_out = a.k_pe_out.template as<Scalar>(),
          .q_pe = a.q_pe.template as<Scalar>(),
          .q_pe_out = a.q_pe_out.template as<Scalar>(),
          .cos_sin = a.cos_sin_cache.data,
          .kv_c_stride = a.kv_c.stride[0],
          .k_pe_stride = a.k_pe.stride[0],
          .k_pe_out_stride = stride_of(a.k_pe_out, 0),
          .q_stride = stride_of(a.q_pe, 0),
          .q_head_stride = stride_of(a.q_pe, 1),
          .q_out_stride = stride_of(a.q_pe_out, 0),
          .q_out_head_stride = stride_of(a.q_pe_out, 1),
          .cos_sin_stride = a.cos_sin_cache.stride[0],
          .cos_sin_dtype = a.cos_sin_cache.dtype,
          .positions = indices_of(a.positions),
          .slots = indices_of(a.slot_mapping),
          .tokens = a.T,
          .stored = a.S,
          .block_size = a.BS,
          .latents = int(a.C),
          .half = int(a.R / 2),
          .heads = int(a.QH),
          .head_lanes = int(head_lanes)};
}

// Few tokens: their query heads are spread over blocks. Many: one block has all heads of its tokens.
template <int N, int Paired, bool Neox, class Args, class Cache>
opswap_status start_concat_mla(const Args &a, const opswap_exec &exec, const Cache &cache) {
  const int64_t lanes = std::min<int64_t>(power_of_two(ceil_div<int64_t>(a.R / 2, Paired)), kTokenLanes);
  const int64_t heads = kTokenLanes / lanes * (kTogether<Neox, Paired> ? 4 : 2);  // that a token's lanes have at once
  const int64_t blocks = sms_of(exec) * (kMlaThreadsPerSm / kMlaThreads), high = ceil_div<int64_t>(a.T, kTokensPerBlock);
  const int64_t wide = a.QH ? std::clamp<int64_t>(blocks / std::max<int64_t>(high, 1), 1, ceil_div(a.QH, heads)) : 0;
  const Geometry geometry{.grid = {std::min(high, blocks), 1 + wide}, .block = {kMlaThreads}, .pdl = true};
  return launch(exec, "concat_mla_kernel", concat_mla_kernel<N, Paired, Neox, Cache>, geometry, described(a, lanes),
                cache);
}

// Whether all but the cache lies so that N latents and N pairs at a time can be read and written.
template <int N, int Paired, bool Neox, class Args>
bool fits_tokens(const Args &a) {
  constexpr int kFeatures = kRun<Neox, Paired>;
  bool all = a.C % N == 0 && a.R / 2 % Paired == 0 && fits(a.kv_c, N) && fits(a.cos_sin_cache, Paired);
  for (const Tensor *t : {&a.k_pe, &a.k_pe_out, &a.q_pe, &a.q_pe_out}) all = all && fits(*t, kFeatures);
  return all;
}

template <class Args, class Cache>
opswap_status concat_mla(const Args &a, const opswap_exec &exec, bool cache_fits, const Cache &cache) {
  const auto start = [&]<bool Neox>(std::bool_constant<Neox>) {
    constexpr int kWide = int(kWidest / sizeof(Scalar)), kPairs = kWidePairs<Neox, Scalar>;
    return cache_fits && fits_tokens<kWide, kPairs, Neox>(a) ? start_concat_mla<kWide, kPairs, Neox>(a, exec, cache)
                                                             : start_concat_mla<1, 1, Neox>(a, exec, cache);
  };
  return a.is_neox ? start(std::true_type{}) : start(std::false_type{});
}

}  // namespace opswap::OPSWAP_PASS
