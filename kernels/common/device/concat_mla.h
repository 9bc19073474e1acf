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
constexpr int64_t kMlaThreadsPerSm = 640;  // that registers leave room for
constexpr int kLatentGroup = 128;          // latents that may share a scale
constexpr int kMostPairs = 64;             // of a part that is rotated: op.json requires it

// Strides count elements.
struct MlaTokens {
  const Scalar *kv_c;   // [tokens, latents]
  const Scalar *k_pe;   // [tokens, 2 * half]
  Scalar *k_pe_out;     // the same, or null
  const Scalar *q_pe;   // [tokens, heads, 2 * half]
  Scalar *q_pe_out;     // the same
  const void *cos_sin;  // [P, 2 * half]: cosines, then sines
  int64_t kv_c_stride, k_pe_stride, k_pe_out_stride, q_stride, q_head_stride, q_out_stride, q_out_head_stride;
  int64_t cos_sin_stride;
  DType cos_sin_dtype;
  Indices positions;  // [tokens]
  Indices slots;      // [stored], -1 is not stored
  int64_t tokens, stored;
  int block_size, latents, half, heads;
  int head_lanes;  // of a token's lanes that have one head
};

// N elements of T as they lie in memory: to take them apart would be to wait for them.
template <class T, int N>
struct Packed {
  static constexpr int kBytes = N * int(sizeof(T)), kWords = (kBytes + 3) / 4;
  uint32_t word[kWords] = {};

  OPSWAP_DEVICE void load_from(const T *p) {
    if constexpr (kBytes < 4) {
      word[0] = load<1>(reinterpret_cast<const uint16_t *>(p))[0];
    } else {
      constexpr int kStep = kWords < 4 ? kWords : 4;
#pragma unroll
      for (int w = 0; w < kWords; w += kStep) {
        const Vec<uint32_t, kStep> part = load<kStep>(reinterpret_cast<const uint32_t *>(p) + w);
#pragma unroll
        for (int i = 0; i < kStep; ++i) word[w + i] = part[i];
      }
    }
  }
  OPSWAP_DEVICE Vec<T, N> elements() const {
    Vec<T, N> x;
    memcpy(&x, word, sizeof x);
    return x;
  }
};

// The low half of an int32 or int64 number, which is all of a position, a slot or -1: one load, whichever it is.
OPSWAP_DEVICE int index_of(const Indices &x, int64_t i) {
  return load<1>(static_cast<const int *>(x.data) + (x.wide ? 2 * i : i))[0];
}

// What one lane has of up to 512 latents: units of N, apart by what all lanes take at once.
template <int N>
struct Latents {
  static constexpr int kStep = kTokenLanes * N, kUnits = kStep < kLatentGroup / 4 ? kLatentGroup / kStep : 4;
  static constexpr int kAtOnce = kStep * kUnits;
  Packed<Scalar, N> unit[kUnits];

  OPSWAP_DEVICE static int at(int u) { return int(threadIdx.x) % kTokenLanes * N + u * kStep; }
  OPSWAP_DEVICE void load_from(const Scalar *row, int begin, int end) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      unit[u] = {};
      if (begin + at(u) < end) unit[u].load_from(row + begin + at(u));
    }
  }
};

// Which pairs of a rotated part are a lane's: units of N, `lanes` of them, a power of two, apart.
template <int N>
struct PairLanes {
  static constexpr int kUnits = kMostPairs > kTokenLanes *N ? kMostPairs / (kTokenLanes * N) : 1;
  int own, lanes, half;

  OPSWAP_DEVICE explicit PairLanes(const MlaTokens &a)
      : own(int(threadIdx.x) & (a.head_lanes - 1)), lanes(a.head_lanes), half(a.half) {}

  // body(unit, its first pair).
  template <class Body>
  OPSWAP_DEVICE void each(Body &&body) const {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      const int pair = (own + u * lanes) * N;
      if (pair < half) body(u, pair);
    }
  }
};

// Cosines and sines of a lane's pairs, in float32 or, two to a word, in bfloat16.
template <int N>
struct Angles {
  Packed<float, N> part[PairLanes<N>::kUnits][2];
  bool wide;

  OPSWAP_DEVICE void load_from(const PairLanes<N> &of, const MlaTokens &a, int64_t position) {
    wide = a.cos_sin_dtype == DType::float32;
    of.each([&](int u, int pair) {
#pragma unroll
      for (int sine = 0; sine < 2; ++sine) {
        const int64_t at = position * a.cos_sin_stride + pair + sine * of.half;
        if (wide) {
          part[u][sine].load_from(static_cast<const float *>(a.cos_sin) + at);
        } else {
          Packed<bf16, N> narrow;
          narrow.load_from(static_cast<const bf16 *>(a.cos_sin) + at);
#pragma unroll
          for (int w = 0; w < narrow.kWords; ++w) part[u][sine].word[w] = narrow.word[w];
        }
      }
    });
  }
  OPSWAP_DEVICE float operator()(int u, int sine, int i) const {
    const auto &word = part[u][sine].word;
    return __uint_as_float(wide ? word[i] : i % 2 ? word[i / 2] & 0xffff0000u : word[i / 2] << 16);
  }
};

// What one lane has of a part that is rotated.
template <int N, bool Neox>
struct KeyPart {
  static constexpr int kUnits = PairLanes<N>::kUnits, kWide = kRun<Neox, N>, kRuns = kTogether<Neox, N> ? 1 : 2;
  Packed<Scalar, kWide> run[kUnits][kRuns];

  // Where a run starts, of a unit's first pair.
  OPSWAP_DEVICE static int start(const PairLanes<N> &of, int pair, int r) {
    return Neox ? pair + r * of.half : 2 * pair + r;
  }
  OPSWAP_DEVICE void load_from(const PairLanes<N> &of, const Scalar *row, bool there) {
    if (!there) return;
    of.each([&](int u, int pair) {
#pragma unroll
      for (int r = 0; r < kRuns; ++r) run[u][r].load_from(row + start(of, pair, r));
    });
  }
  OPSWAP_DEVICE Pairs<N> pairs(int u) const {
    const Vec<float, kWide> one = to_float(run[u][0].elements()), other = to_float(run[u][kRuns - 1].elements());
    Pairs<N> x;
#pragma unroll
    for (int i = 0; i < N; ++i)
      x.first[i] = one[kRuns == 1 ? 2 * i : i], x.second[i] = other[kRuns == 1 ? 2 * i + 1 : i];
    return x;
  }

  // body(offset in the part, rotated features). The product with the cosine is rounded, the sum of it and the other
  // product as well, as on a CPU.
  template <class Body>
  OPSWAP_DEVICE void each_rotated(const PairLanes<N> &of, const Angles<N> &angle, Body &&body) const {
    of.each([&](int u, int pair) {
      const Pairs<N> x = pairs(u);
      Pairs<N> out;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float cos = angle(u, 0, i), sin = angle(u, 1, i);
        out.first[i] = fmaf(-x.second[i], sin, x.first[i] * cos);
        out.second[i] = fmaf(x.first[i], sin, x.second[i] * cos);
      }
      if constexpr (kRuns == 1) {
        body(start(of, pair, 0), woven(out));
      } else {
        body(start(of, pair, 0), out.first);
        body(start(of, pair, 1), out.second);
      }
    });
  }
};

// A division of 64 bits would be a call.
OPSWAP_DEVICE int64_t token_at(int slot, int block_size, int64_t block_stride, int64_t slot_stride) {
  return slot / block_size * block_stride + slot % block_size * slot_stride;
}

// Query heads of the tokens that a block has. A lane keeps its angles over its heads.
template <int N, bool Neox>
OPSWAP_DEVICE void rotate_queries(const MlaTokens &a, int share, int shares) {
  constexpr int kHeld = kTogether<Neox, N> ? 4 : 2;  // heads of a lane on their way at once: four accesses
  const PairLanes<N> of(a);
  const int apart = kTokenLanes / of.lanes, own = int(threadIdx.x) % kTokenLanes / of.lanes;
  const int step = kHeld * apart, first = share * step;
  for (int64_t t = int64_t(blockIdx.x) * kTokensPerBlock + threadIdx.x / kTokenLanes; t < a.tokens;
       t += int64_t(gridDim.x) * kTokensPerBlock) {
    const int position = index_of(a.positions, t);
    Angles<N> angle;
    for (int begin = first; begin < a.heads; begin += shares * step) {
      KeyPart<N, Neox> x[kHeld];
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        const int h = begin + k * apart + own;
        x[k].load_from(of, a.q_pe + t * a.q_stride + h * a.q_head_stride, h < a.heads);
      }
      if (begin == first) angle.load_from(of, a, position);
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        const int h = begin + k * apart + own;
        Scalar *out = a.q_pe_out + t * a.q_out_stride + h * a.q_out_head_stride;
        if (h < a.heads) x[k].each_rotated(of, angle, [&](int at, const auto &run) { store_floats(out + at, run); });
      }
    }
  }
}

// Blocks of row 0 along y store tokens, those of other rows share the query heads. What a token needs comes in two
// rounds: position, slot, latents, key part and a scale that is given; then the angles, which hang on the position.
template <int N, int Paired, bool Neox, class Cache>
__global__ void __launch_bounds__(kMlaThreads)
    concat_mla_kernel(const __grid_constant__ MlaTokens a, const __grid_constant__ Cache cache) {
  dependency_wait();
  dependency_trigger();
  if (blockIdx.y) return rotate_queries<Paired, Neox>(a, int(blockIdx.y) - 1, int(gridDim.y) - 1);
  const PairLanes<Paired> of(a);
  const float scale = cache.given_scale();
  for (int64_t first = int64_t(blockIdx.x) * kTokensPerBlock; first < a.tokens;
       first += int64_t(gridDim.x) * kTokensPerBlock) {
    const int64_t t = first + threadIdx.x / kTokenLanes;
    const bool rotates = t < a.tokens && int(threadIdx.x) % kTokenLanes < of.lanes;
    const int slot = t < a.stored ? index_of(a.slots, t) : -1, position = rotates ? index_of(a.positions, t) : 0;
    const Scalar *latents = a.kv_c + t * a.kv_c_stride;
    Latents<N> x;
    x.load_from(latents, 0, t < a.stored ? a.latents : 0);
    KeyPart<Paired, Neox> key;
    key.load_from(of, a.k_pe + t * a.k_pe_stride, rotates);
    Angles<Paired> angle;
    if (rotates) angle.load_from(of, a, position);
    const int64_t token = token_at(slot, a.block_size, cache.block_stride, cache.slot_stride);
    for (int begin = 0;;) {
      cache.store_latents(token, slot >= 0, x, begin, a.latents, scale);  // all lanes: groups are theirs together
      begin += Latents<N>::kAtOnce;
      if (begin >= a.latents) break;
      x.load_from(latents, begin, slot >= 0 ? a.latents : 0);
    }
    if (!rotates) continue;
    key.each_rotated(of, angle, [&](int at, const auto &run) {
      if (a.k_pe_out) store_floats(a.k_pe_out + t * a.k_pe_out_stride + at, run);
      if (slot >= 0) cache.store_key(token, at, run, a.latents, scale);
    });
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
          .block_size = int(a.BS),
          .latents = int(a.C),
          .half = int(a.R / 2),
          .heads = int(a.QH),
          .head_lanes = int(head_lanes)};
}

template <class Args>
const char *mla_refusal(const Args &a) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return a.BS >= kMost || a.P >= kMost || (a.BS && a.NB > kMost / a.BS)
             ? "slots and positions are numbers of 31 bits in these kernels; cache or angles have more"
             : nullptr;
}

// Few tokens: their query heads are spread over blocks. Many: one block has all heads of its tokens.
template <int N, int Paired, bool Neox, class Args, class Cache>
opswap_status start_concat_mla(const Args &a, const opswap_exec &exec, const Cache &cache) {
  const int64_t lanes = std::min<int64_t>(power_of_two(ceil_div<int64_t>(a.R / 2, Paired)), kTokenLanes);
  const int64_t heads = kTokenLanes / lanes * (kTogether<Neox, Paired> ? 4 : 2);  // that a token's lanes have at once
  const int64_t blocks = sms_of(exec) * (kMlaThreadsPerSm / kMlaThreads),
                high = ceil_div<int64_t>(a.T, kTokensPerBlock);
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
