// RMS norm and rotation of query and key heads, and the store of keys and values into a paged cache, shared by the
// rooms that find a token's slot in different ways and by those that store in different ways.
#pragma once

#include "common/device/paged.h"
#include "common/device/rms.h"
#include "common/device/rotate.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kNormThreads = 256;  // of a block, at most
constexpr int64_t kNormThreadsPerSm = 1024;
enum NormOrder : int { kNoNorm, kNormThenRope, kRopeThenNorm };

// Strides count elements.
template <class T>
struct HeadRows {
  T *data;  // [T, heads, features]
  int64_t token_stride, head_stride;
  OPSWAP_DEVICE T *at(int64_t t, int64_t h) const { return data + t * token_stride + h * head_stride; }
};

// Where a token is: its position in its sequence, and its slot in the cache, -1 where nothing is stored.
struct Place {
  int64_t position, slot;
};

// A place that an engine gives, with both numbers asked for before either is looked at.
struct SlotMapping {
  Indices slots;  // [count], -1 is not stored; of the dtype of positions
  int64_t count;  // tokens from here on are not stored either

  OPSWAP_DEVICE Place operator()(const Indices &positions, int64_t t) const {
    return slots.wide ? of<int64_t>(positions, t) : of<int32_t>(positions, t);
  }
  template <class I>
  OPSWAP_DEVICE Place of(const Indices &positions, int64_t t) const {
    Vec<I, 1> slot{-1};
    const Vec<I, 1> position = load<1>(static_cast<const I *>(positions.data) + t);
    if (t < count) slot = load<1>(static_cast<const I *>(slots.data) + t);
    return {position[0], slot[0]};
  }
};

struct QkNormRope {
  HeadRows<Scalar> query, key, value;
  const void *cos_sin;  // [P, R]: R/2 cosines, then R/2 sines
  int64_t cos_sin_stride;
  bool angles_are_bf16;               // else float32
  Indices positions;                  // [T]
  const Scalar *q_weight, *k_weight;  // [D] or null: ones
  int64_t tokens, block_size;
  double per_block;  // 1 / block_size
  int query_heads, kv_heads, features, value_features, half;
  int norm;
  float epsilon;
};

// The bits of ones that lie side by side.
template <class T>
inline constexpr uint32_t kOnes = std::is_same_v<T, bf16>   ? 0x3f803f80
                                  : std::is_same_v<T, fp16> ? 0x3c003c00
                                                            : 0x3f800000;

// True division, as everywhere that FP8 is made.
template <int N>
OPSWAP_DEVICE void divide(Vec<float, N> &x, float by) {
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = __fdiv_rn(x[i], by);
}

// Which features of a head a lane has: `Units` times N pairs. Unit q of a head is pairs [q * N, q * N + N) where those
// are rotated, and behind them 2 * N features that lie side by side. A unit is read in runs: two of N features, or one
// of 2 * N where a pair lies together.
template <int N, int Units, bool Neox>
struct Lane {
  static constexpr int kWide = kRun<Neox, N>, kRuns = kTogether<Neox, N> ? 1 : 2;

  OPSWAP_DEVICE static int unit(int u) { return int(threadIdx.x) + u * int(blockDim.x); }
  OPSWAP_DEVICE static int run(int u, int r, int half) {
    const int q = unit(u);
    return Neox && q * N < half ? r * half + q * N : (2 * q + r) * N;
  }
};

// A lane's part of a head as it was read, in whole words: nothing is taken apart until it is used, so that no load
// waits for another one, and 16-bit features share registers.
template <int N, int Units, bool Neox>
struct Asked {
  using L = Lane<N, Units, Neox>;
  using Run = Vec<Scalar, L::kWide>;
  using Word = typename WordOf<int(sizeof(Run))>::type;
  Word word[Units][L::kRuns];

  OPSWAP_DEVICE void ask_run(int u, int r, const Scalar *row, int i, int features, uint32_t beyond = 0) {
    word[u][r] = sm90::global_load_if(i < features, reinterpret_cast<const Word *>(row + i), beyond);
  }
  OPSWAP_DEVICE void ask(const Scalar *row, int features, int half) {
#pragma unroll
    for (int u = 0; u < Units; ++u)
#pragma unroll
      for (int r = 0; r < L::kRuns; ++r) ask_run(u, r, row, L::run(u, r, half), features);
  }
  // No weight is ones.
  OPSWAP_DEVICE void ask_weight(int u, const Scalar *weight, int features, int half) {
#pragma unroll
    for (int r = 0; r < L::kRuns; ++r) ask_run(u, r, weight, L::run(u, r, half), weight ? features : 0, kOnes<Scalar>);
  }

  OPSWAP_DEVICE Run run(int u, int r) const {
    Run x;
    memcpy(&x, &word[u][r], sizeof x);
    return x;
  }
  OPSWAP_DEVICE Pairs<N> pairs(int u) const {
    Pairs<N> x;
    if constexpr (L::kRuns == 1) {
      const Vec<float, 2 * N> both = to_float(run(u, 0));
#pragma unroll
      for (int i = 0; i < N; ++i) x.first[i] = both[2 * i], x.second[i] = both[2 * i + 1];
    } else {
      x.first = to_float(run(u, 0)), x.second = to_float(run(u, 1));
    }
    return x;
  }
};

// Cosines and sines of a lane's pairs: as they were read, then in float32.
template <int N, int Units, bool Neox>
struct Angle {
  struct Words {
    uint32_t at[N];
  };
  Words first[Units], second[Units];

  OPSWAP_DEVICE void ask(const QkNormRope &a, int64_t position) {
    if (a.angles_are_bf16)
      ask(static_cast<const bf16 *>(a.cos_sin) + position * a.cos_sin_stride, a.half);
    else
      ask(static_cast<const float *>(a.cos_sin) + position * a.cos_sin_stride, a.half);
  }
  template <class T>
  OPSWAP_DEVICE void ask(const T *row, int half) {
#pragma unroll
    for (int u = 0; u < Units; ++u) {
      const int i = Lane<N, Units, Neox>::unit(u) * N;
      if (i < half) ask(first[u], row + i), ask(second[u], row + half + i);
    }
  }
  template <class T>
  OPSWAP_DEVICE static void ask(Words &to, const T *from) {
    constexpr int kBytes = N * int(sizeof(T)), kStep = std::min(kBytes, int(kWidest));
    using Word = typename WordOf<kStep>::type;
#pragma unroll
    for (int i = 0; i < kBytes; i += kStep) {
      const Word word = sm90::global_load(reinterpret_cast<const Word *>(reinterpret_cast<const char *>(from) + i));
      memcpy(reinterpret_cast<char *>(&to) + i, &word, sizeof word);
    }
  }

  OPSWAP_DEVICE void widen(const QkNormRope &a) {
    if (!a.angles_are_bf16) return;
#pragma unroll
    for (int u = 0; u < Units; ++u) widen(first[u]), widen(second[u]);
  }
  OPSWAP_DEVICE static void widen(Words &x) {
    Vec<bf16, N> narrow;
    memcpy(&narrow, &x, sizeof narrow);
    const Vec<float, N> wide = to_float(narrow);
    memcpy(&x, &wide, sizeof x);
  }

  OPSWAP_DEVICE Pairs<N> pairs(int u) const {
    Pairs<N> x;
    memcpy(&x.first, &first[u], sizeof x.first);
    memcpy(&x.second, &second[u], sizeof x.second);
    return x;
  }
};

// A lane's share of a head, in float32.
template <int N, int Units, bool Neox>
struct Share {
  using L = Lane<N, Units, Neox>;
  Pairs<N> unit[Units];

  OPSWAP_DEVICE explicit Share(const Asked<N, Units, Neox> &asked) {
#pragma unroll
    for (int u = 0; u < Units; ++u) unit[u] = asked.pairs(u);
  }

  // body(offset in the head, features).
  template <class Body>
  OPSWAP_DEVICE void each_run(int features, int half, Body &&body) const {
#pragma unroll
    for (int u = 0; u < Units; ++u) {
      if constexpr (L::kRuns == 1) {
        if (const int i = L::run(u, 0, half); i < features) body(i, woven(unit[u]));
      } else {
        if (const int i = L::run(u, 0, half); i < features) body(i, unit[u].first);
        if (const int i = L::run(u, 1, half); i < features) body(i, unit[u].second);
      }
    }
  }

  // angle_of(u): cosines and sines of unit u.
  template <class AngleOf>
  OPSWAP_DEVICE void rotate(int half, AngleOf &&angle_of) {
#pragma unroll
    for (int u = 0; u < Units; ++u)
      if (L::unit(u) * N < half) unit[u] = rotated(unit[u], angle_of(u));
  }

  OPSWAP_DEVICE Share &multiply(float factor) {
#pragma unroll
    for (int u = 0; u < Units; ++u)
#pragma unroll
      for (int i = 0; i < N; ++i) unit[u].first[i] *= factor, unit[u].second[i] *= factor;
    return *this;
  }

  // The largest magnitude of the lane's features; NaN wins.
  OPSWAP_DEVICE float largest() const {
    float most = 0;
#pragma unroll
    for (int u = 0; u < Units; ++u)
#pragma unroll
      for (int i = 0; i < N; ++i) most = Max{}(Max{}(most, fabsf(unit[u].first[i])), fabsf(unit[u].second[i]));
    return most;
  }

  OPSWAP_DEVICE void divide(float by) {
#pragma unroll
    for (int u = 0; u < Units; ++u) OPSWAP_PASS::divide(unit[u].first, by), OPSWAP_PASS::divide(unit[u].second, by);
  }

  // All lanes of the warp call it: blockDim.x lanes, a power of two, hold a head.
  OPSWAP_DEVICE float mean_square(int features) const {
    float squares = 0;
#pragma unroll
    for (int u = 0; u < Units; ++u)
#pragma unroll
      for (int i = 0; i < N; ++i)
        squares += unit[u].first[i] * unit[u].first[i] + unit[u].second[i] * unit[u].second[i];
    for (int distance = int(blockDim.x) / 2; distance > 0; distance /= 2)
      squares += __shfl_xor_sync(kAllLanes, squares, distance);
    return squares / float(features);
  }

  // All lanes of the warp call it. again(range) makes the head once more, multiplied by a power of two: asked for where
  // the squares of some head of the warp leave the range of float32.
  template <class WeightOf, class Again>
  OPSWAP_DEVICE void normalise(int features, float epsilon, WeightOf &&weight_of, Again &&again) {
    float mean = mean_square(features) + epsilon;
    const float range = range_of(mean);
    if (__any_sync(kAllLanes, range != 1)) {
      again(range);
      mean = mean_square(features) + epsilon * range * range;
    }
    const float scale = rsqrtf(mean);
#pragma unroll
    for (int u = 0; u < Units; ++u) {
      const Pairs<N> w = weight_of(u);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        unit[u].first[i] *= scale, unit[u].first[i] *= w.first[i];
        unit[u].second[i] *= scale, unit[u].second[i] *= w.second[i];
      }
    }
  }
};

// A token's heads on their way through a lane. What is asked for early waits in registers as it lies in memory.
template <int N, int Units, bool Neox, class Out>
struct Heads {
  using Raw = Asked<N, Units, Neox>;
  using Head = Share<N, Units, Neox>;
  using L = Lane<N, Units, Neox>;
  using Values = HeldHead<Scalar, L::kWide, (Out::kWholeValues ? Units : 1) * L::kRuns>;
  static constexpr bool kEarly = Units == 1;              // else registers are for the head at hand alone
  static constexpr int kHeld = kEarly ? 2 : 1;            // query heads of a lane that are on their way at once
  static constexpr bool kKeepsWeights = kEarly || N > 1;  // over all tokens, else each head asks again
  const QkNormRope &a;
  const Out &out;
  int64_t t;
  Raw q_weight, k_weight;
  Raw query[kHeld], key;
  Values value;
  Angle<N, Units, Neox> angle;
  typename Out::Scales scales;

  OPSWAP_DEVICE static int at(int begin, int k = 0) { return begin + k * int(blockDim.y) + int(threadIdx.y); }

  OPSWAP_DEVICE void ask_weights() {
    if constexpr (kKeepsWeights) {
#pragma unroll
      for (int u = 0; u < Units; ++u) {
        q_weight.ask_weight(u, a.q_weight, a.features, a.half);
        k_weight.ask_weight(u, a.k_weight, a.features, a.half);
      }
    }
  }
  OPSWAP_DEVICE void ask(Raw &x, const HeadRows<Scalar> &rows, int h, int heads) const {
    x.ask(rows.at(t, h), h < heads ? a.features : 0, a.half);
  }
  OPSWAP_DEVICE void ask_queries(int begin) {
#pragma unroll
    for (int k = 0; k < kHeld; ++k) ask(query[k], a.query, at(begin, k), a.query_heads);
  }
  OPSWAP_DEVICE void ask_key(int begin) { ask(key, a.key, at(begin), a.kv_heads); }
  OPSWAP_DEVICE void ask_value(int begin, int from) {
    value.ask(a.value.at(t, at(begin)) + from, at(begin) < a.kv_heads ? a.value_features - from : 0);
  }
  OPSWAP_DEVICE void ask_scales(int begin) { scales = out.scales(at(begin) < a.kv_heads ? at(begin) : 0); }

  // again(): the head as it was read.
  template <class Again>
  OPSWAP_DEVICE void finish(Head &x, const Scalar *weights, const Raw &weight, Again &&again) const {
    const auto weight_of = [&](int u) {
      if constexpr (kKeepsWeights) return weight.pairs(u);
      Raw here;
      here.ask_weight(u, weights, a.features, a.half);
      return here.pairs(u);
    };
    const auto angle_of = [&](int u) { return angle.pairs(u); };
    if (a.norm == kNormThenRope) x.normalise(a.features, a.epsilon, weight_of, [&](float range) { x.multiply(range); });
    x.rotate(a.half, angle_of);
    if (a.norm == kRopeThenNorm)
      x.normalise(a.features, a.epsilon, weight_of, [&](float range) {  // the rotation may have left the range too
        x = again();
        x.multiply(range).rotate(a.half, angle_of);
      });
  }

  OPSWAP_DEVICE void store_queries() {
    for (int begin = 0;;) {
      if constexpr (!kEarly) ask_queries(begin);
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        const int h = at(begin, k);
        Head x(query[k]);
        finish(x, a.q_weight, q_weight, [&] {
          if constexpr (!kEarly) ask(query[k], a.query, h, a.query_heads);
          return Head(query[k]);
        });
        out.store_query(t, h, h < a.query_heads, x, a);
      }
      begin += kHeld * int(blockDim.y);
      if (begin >= a.query_heads) return;
      if constexpr (kEarly) ask_queries(begin);
    }
  }

  OPSWAP_DEVICE void store_values(const Cell &cell, int begin) {
    for (int from = 0;;) {
      out.store_value(cell, at(begin), at(begin) < a.kv_heads, from, value, scales, a);
      from += Values::span();
      if (from >= a.value_features) return;
      ask_value(begin, from);
    }
  }

  OPSWAP_DEVICE void store_keys_and_values(const Cell &cell) {
    for (int begin = 0;;) {
      if constexpr (!kEarly) ask_key(begin);
      Head x(key);
      finish(x, a.k_weight, k_weight, [&] {
        if constexpr (!kEarly) ask_key(begin);
        return Head(key);
      });
      out.store_key(cell, at(begin), at(begin) < a.kv_heads, x, scales, a);
      if constexpr (!kEarly) ask_value(begin, 0);
      store_values(cell, begin);
      begin += int(blockDim.y);
      if (begin >= a.kv_heads) return;
      ask_scales(begin);
      if constexpr (kEarly) ask_key(begin), ask_value(begin, 0);
    }
  }
};

// A block is x lanes wide, y heads deep and z tokens high; a warp never holds two tokens. What a token's heads share
// stays in registers: angles over its heads, weights over all tokens. A token's first heads are asked for with its
// place, and only its angles wait for an answer: two rounds of loads where one pass holds all heads (test/static).
// `Out` stores; the lanes of a warp call it together, whether theirs is a head of the token or not.
template <int N, int Units, bool Neox, class PlaceOf, class Out>
__global__ void __launch_bounds__(kNormThreads, 1)
    qk_norm_rope_kernel(const __grid_constant__ QkNormRope a, const __grid_constant__ PlaceOf place_of,
                        const __grid_constant__ Out out) {
  Heads<N, Units, Neox, Out> heads{a, out, int64_t(blockIdx.x) * blockDim.z + threadIdx.z};
  heads.ask_weights();
  dependency_wait();
  dependency_trigger();
  if (heads.t >= a.tokens) return;
  Place place;
  const auto ask_token = [&] {
    if constexpr (heads.kEarly) heads.ask_queries(0), heads.ask_key(0), heads.ask_value(0, 0);
    heads.ask_scales(0);
    place = place_of(a.positions, heads.t);
    heads.angle.ask(a, place.position);
  };
  ask_token();
  for (;;) {
    const Cell cell(place.slot, a.block_size, a.per_block);
    heads.angle.widen(a);
    heads.store_queries();
    if (place.slot >= 0) heads.store_keys_and_values(cell);
    heads.t += int64_t(gridDim.x) * blockDim.z;
    if (heads.t >= a.tokens) return;
    ask_token();
  }
}

// The cache in the dtype that a call has, divided by a scale that is given.
struct PagedCache {
  void *data;  // [NB, KH, BS, features]
  DType dtype;
  CellStrides strides;
  const float *scale;  // [1] or [KH], or null
  bool scale_per_head;

  OPSWAP_DEVICE float scale_of(int h) const { return scale ? load<1>(scale + (scale_per_head ? h : 0))[0] : 1.0f; }

  // body(where head h of the cell begins): all threads take one branch.
  template <class Body>
  OPSWAP_DEVICE void with_head(const Cell &cell, int h, Body &&body) const {
    const int64_t at = strides.at(cell, h);
    if (dtype == DType::float8_e4m3fn) return body(static_cast<e4m3 *>(data) + at);
    if (dtype == DType::bfloat16) return body(static_cast<bf16 *>(data) + at);
    if (dtype == DType::float16) return body(static_cast<fp16 *>(data) + at);
    return body(static_cast<float *>(data) + at);
  }
};

// Queries in the dtype that they came in, keys and values in the cache's.
struct PlainOut {
  HeadRows<Scalar> query;
  PagedCache key_cache, value_cache;
  bool values_keep_bits;  // values are neither scaled nor converted

  static constexpr bool kWholeValues = false;
  static constexpr int kMostFeatures = 1024;  // of a head: op.json requires it
  struct Scales {
    float key, value;
  };
  OPSWAP_DEVICE Scales scales(int h) const { return {key_cache.scale_of(h), value_cache.scale_of(h)}; }

  template <class Head>
  OPSWAP_DEVICE void store_query(int64_t t, int h, bool real, const Head &x, const QkNormRope &a) const {
    if (!real) return;
    Scalar *to = query.at(t, h);
    x.each_run(a.features, a.half, [&](int i, const auto &run) { store_floats(to + i, run); });
  }
  template <class Head>
  OPSWAP_DEVICE void store_key(const Cell &cell, int h, bool real, Head x, const Scales &by,
                               const QkNormRope &a) const {
    if (!real) return;
    if (key_cache.scale) x.divide(by.key);
    key_cache.with_head(cell, h, [&](auto *to) {
      x.each_run(a.features, a.half, [&](int i, const auto &run) { store_floats(to + i, run); });
    });
  }
  // Features from `from` on.
  template <int N, int Runs>
  OPSWAP_DEVICE void store_value(const Cell &cell, int h, bool real, int from, const HeldHead<Scalar, N, Runs> &x,
                                 const Scales &by, const QkNormRope &a) const {
    if (!real) return;
    const int features = a.value_features - from;
    if (values_keep_bits) {
      Scalar *to = static_cast<Scalar *>(value_cache.data) + value_cache.strides.at(cell, h) + from;
      return x.each(features, [&](int i, const auto &run) { store(to + i, run); });
    }
    Vec<float, N> stored[Runs];
#pragma unroll
    for (int r = 0; r < Runs; ++r) {
      stored[r] = to_float(x.run(r));
      if (value_cache.scale) divide(stored[r], by.value);
    }
    value_cache.with_head(cell, h, [&](auto *to) {
#pragma unroll
      for (int r = 0; r < Runs; ++r)
        if (x.at(r) < features) store_floats(to + from + x.at(r), stored[r]);
    });
  }
};

template <class T>
HeadRows<T> heads_of(const Tensor &t) {
  return {t.as<T>(), t.stride[0], t.stride[1]};
}

inline PagedCache cache_of(const Tensor &t, const Tensor &scale) {
  return {.data = t.data,
          .dtype = t.dtype,
          .strides = cell_strides(t),
          .scale = scale && scale.shape[0] ? scale.as<float>() : nullptr,
          .scale_per_head = scale && scale.shape[0] > 1};
}

template <class Args>
PlainOut plain_out(const Args &a) {
  return {.query = heads_of<Scalar>(a.query_out),
          .key_cache = cache_of(a.key_cache, a.k_scale),
          .value_cache = cache_of(a.value_cache, a.v_scale),
          .values_keep_bits = !a.v_scale && a.value.dtype == a.value_cache.dtype};
}

template <class Args>
QkNormRope described(const Args &a) {
  return {.query = heads_of<Scalar>(a.query),
          .key = heads_of<Scalar>(a.key),
          .value = heads_of<Scalar>(a.value),
          .cos_sin = a.cos_sin_cache.data,
          .cos_sin_stride = a.cos_sin_cache.stride[0],
          .angles_are_bf16 = a.cos_sin_cache.dtype == DType::bfloat16,
          .positions = indices_of(a.positions),
          .q_weight = a.norm != kNoNorm ? a.q_weight.template as<Scalar>() : nullptr,
          .k_weight = a.norm != kNoNorm ? a.k_weight.template as<Scalar>() : nullptr,
          .tokens = a.T,
          .block_size = a.BS,
          .per_block = per_block_of(a.BS),
          .query_heads = int(a.QH),
          .kv_heads = int(a.KH),
          .features = int(a.D),
          .value_features = int(a.V),
          .half = int(a.R / 2),
          .norm = int(a.norm),
          .epsilon = float(a.epsilon)};
}

// What the lanes of a head have room for.
template <class Out, class Args>
int64_t held_features(const Args &a) {
  return Out::kWholeValues ? std::max(a.D, a.V) : a.D;
}

// Few tokens: all heads of a token at once. Many: a warp for each token, so that its angles are read once.
template <int N, int Units, bool Neox, class Args, class PlaceOf, class Out>
opswap_status start_qk_norm_rope(const Args &a, const opswap_exec &exec, const PlaceOf &place_of, const Out &out) {
  const int64_t lanes = std::min<int64_t>(power_of_two(ceil_div<int64_t>(held_features<Out>(a), 2 * N)), kWarp);
  const int64_t warp = kWarp / lanes, tokens = std::max<int64_t>(a.T, 1);
  const int64_t threads = sms_of(exec) * kNormThreadsPerSm;
  const int64_t most = std::min(kNormThreads / lanes, round_up(std::max<int64_t>({a.QH, a.KH, 1}), warp));
  const int64_t depth = std::clamp(threads / (lanes * tokens) / warp * warp, warp, most);
  const int64_t height = std::max<int64_t>(1, kNormThreads / 2 / (lanes * depth));
  const Geometry geometry{.grid = {std::min(ceil_div(a.T, height), threads / (lanes * depth * height))},
                          .block = {lanes, depth, height},
                          .pdl = true};
  return launch(exec, "qk_norm_rope_kernel", qk_norm_rope_kernel<N, Units, Neox, PlaceOf, Out>, geometry, described(a),
                place_of, out);
}

template <int N, bool Neox, class Args, class PlaceOf, class Out>
opswap_status start_qk_norm_rope(const Args &a, const opswap_exec &exec, const PlaceOf &place_of, const Out &out) {
  constexpr int kMost = Out::kMostFeatures / (2 * N * kWarp);
  return held_features<Out>(a) <= 2 * N * kWarp ? start_qk_norm_rope<N, 1, Neox>(a, exec, place_of, out)
                                                : start_qk_norm_rope<N, kMost, Neox>(a, exec, place_of, out);
}

// Every row lies so that N pairs at a time can be read and written.
template <int N, bool Neox, class Args>
bool fits_pairs(const Args &a) {
  constexpr int kFeatures = kRun<Neox, N>;
  bool all = a.R / 2 % N == 0 && a.D % kFeatures == 0 && a.V % kFeatures == 0 && fits(a.cos_sin_cache, N);
  for (const Tensor *t :
       {&a.query_out, &a.query, &a.key, &a.value, &a.key_cache, &a.value_cache, &a.q_weight, &a.k_weight})
    all = all && fits(*t, kFeatures);
  return all;
}

template <class Args, class PlaceOf, class Out>
opswap_status qk_norm_rope(const Args &a, const opswap_exec &exec, const PlaceOf &place_of, const Out &out) {
  const auto start = [&]<bool Neox>(std::bool_constant<Neox>) {
    constexpr int kPairs = kWidePairs<Neox, Scalar>;
    return fits_pairs<kPairs, Neox>(a) ? start_qk_norm_rope<kPairs, Neox>(a, exec, place_of, out)
                                       : start_qk_norm_rope<1, Neox>(a, exec, place_of, out);
  };
  return a.is_neox ? start(std::true_type{}) : start(std::false_type{});
}

}  // namespace opswap::OPSWAP_PASS
