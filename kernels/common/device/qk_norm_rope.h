// RMS norm and rotation of query and key heads, and the store of keys and values into a paged cache, shared by the
// rooms that find a token's slot in different ways.
#pragma once

#include "common/device/rms.h"
#include "common/device/rotate.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kNormThreads = 256;  // of a block, at most
constexpr int64_t kNormThreadsPerSm = 1024;
constexpr int kMostFeatures = 1024;  // of a head: op.json requires it
enum NormOrder : int { kNoNorm, kNormThenRope, kRopeThenNorm };

// Strides count elements.
struct HeadRows {
  Scalar *data;  // [T, heads, features]
  int64_t token_stride, head_stride;
  OPSWAP_DEVICE Scalar *at(int64_t t, int64_t h) const { return data + t * token_stride + h * head_stride; }
};
struct PagedCache {
  void *data;  // [NB, KH, BS, features]
  DType dtype;
  bool scale_per_head;
  const float *scale;  // [KS] or null
  int64_t block_stride, head_stride, slot_stride;
  OPSWAP_DEVICE int64_t at(int64_t block, int64_t h, int64_t offset) const {
    return block * block_stride + h * head_stride + offset * slot_stride;
  }
  // True division, as everywhere that FP8 is made.
  template <int N>
  OPSWAP_DEVICE Vec<float, N> scaled(Vec<float, N> x, int64_t h) const {
    if (!scale) return x;
    const float divisor = load<1>(scale + (scale_per_head ? h : 0))[0];
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] = __fdiv_rn(x[i], divisor);
    return x;
  }
};

struct QkNormRope {
  HeadRows query_out, query, key, value;
  PagedCache key_cache, value_cache;
  bool values_keep_bits;  // values are neither scaled nor converted
  const void *cos_sin;    // [P, R]: R/2 cosines, then R/2 sines
  int64_t cos_sin_stride;
  DType cos_sin_dtype;
  Indices positions;                  // [T]
  const Scalar *q_weight, *k_weight;  // [D] or null: ones
  int64_t tokens, block_size;
  int query_heads, kv_heads, features, value_features, half;
  int norm;
  float epsilon;
};

// A lane's share of a head: `Units` times N pairs. Unit q of a head is pairs [q * N, q * N + N) where those are
// rotated, and behind them 2 * N features that lie side by side.
template <int N, int Units, bool Neox>
struct Share {
  Pairs<N> unit[Units];

  OPSWAP_DEVICE static int unit_at(int u) { return int(threadIdx.x) + u * int(blockDim.x); }
  OPSWAP_DEVICE static int first(int q, int half) { return Neox && q * N < half ? q * N : 2 * q * N; }
  OPSWAP_DEVICE static int second(int q, int half) { return Neox && q * N < half ? half + q * N : 2 * q * N + N; }

  template <class T>
  OPSWAP_DEVICE void load(const T *row, int features, int half) {
#pragma unroll
    for (int u = 0; u < Units; ++u) {
      const int q = unit_at(u), a = first(q, half), b = second(q, half);
      unit[u] = {};
      if constexpr (kTogether<Neox, N>) {
        if (a < features) unit[u] = load_pairs<Neox, N>(row + a, row + b);
      } else {
        if (a < features) unit[u].first = load_floats<N>(row + a);
        if (b < features) unit[u].second = load_floats<N>(row + b);
      }
    }
  }

  OPSWAP_DEVICE void load_weight(const Scalar *weight, int features, int half) {
    if (weight) return load(weight, features, half);
#pragma unroll
    for (int u = 0; u < Units; ++u)
#pragma unroll
      for (int i = 0; i < N; ++i) unit[u].first[i] = unit[u].second[i] = 1;
  }

  OPSWAP_DEVICE void load_angle(const QkNormRope &a, int64_t position) {
    const int64_t row = position * a.cos_sin_stride;
#pragma unroll
    for (int u = 0; u < Units; ++u) {
      const int i = unit_at(u) * N;
      if (i >= a.half) continue;
      unit[u].first = load_floats<N>(a.cos_sin, a.cos_sin_dtype, row + i);
      unit[u].second = load_floats<N>(a.cos_sin, a.cos_sin_dtype, row + a.half + i);
    }
  }

  // body(offset in the head, features).
  template <class Body>
  OPSWAP_DEVICE void each_run(int features, int half, Body &&body) const {
#pragma unroll
    for (int u = 0; u < Units; ++u) {
      const int q = unit_at(u), a = first(q, half), b = second(q, half);
      if constexpr (kTogether<Neox, N>) {
        if (a < features) body(a, woven(unit[u]));
      } else {
        if (a < features) body(a, unit[u].first);
        if (b < features) body(b, unit[u].second);
      }
    }
  }

  OPSWAP_DEVICE void rotate(const Share &angle, int half) {
#pragma unroll
    for (int u = 0; u < Units; ++u)
      if (unit_at(u) * N < half) unit[u] = rotated(unit[u], angle.unit[u]);
  }

  OPSWAP_DEVICE Share &multiply(float factor) {
#pragma unroll
    for (int u = 0; u < Units; ++u)
#pragma unroll
      for (int i = 0; i < N; ++i) unit[u].first[i] *= factor, unit[u].second[i] *= factor;
    return *this;
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
  template <class Again>
  OPSWAP_DEVICE void normalise(const Share &weight, int features, float epsilon, Again &&again) {
    float mean = mean_square(features) + epsilon;
    const float range = range_of(mean);
    if (__any_sync(kAllLanes, range != 1)) {
      again(range);
      mean = mean_square(features) + epsilon * range * range;
    }
    const float scale = rsqrtf(mean);
#pragma unroll
    for (int u = 0; u < Units; ++u)
#pragma unroll
      for (int i = 0; i < N; ++i) {
        unit[u].first[i] *= scale, unit[u].first[i] *= weight.unit[u].first[i];
        unit[u].second[i] *= scale, unit[u].second[i] *= weight.unit[u].second[i];
      }
  }
};

// A block is x lanes wide, y heads deep and z tokens high; a warp never holds two tokens. What a token's heads share
// stays in registers: angles over its heads, weights over all tokens. slot_of(t, position) is -1 where nothing is
// stored.
template <int N, int Units, bool Neox, class SlotOf>
__global__ void __launch_bounds__(kNormThreads)
    qk_norm_rope_kernel(const __grid_constant__ QkNormRope a, const __grid_constant__ SlotOf slot_of) {
  using Head = Share<N, Units, Neox>;
  constexpr int kHeld = Units == 1 ? 2 : 1;  // heads of a lane that are on their way at once
  constexpr int kWide = kRun<Neox, N>;       // features of an access
  Head q_weight, k_weight;
  if (a.norm != kNoNorm)
    q_weight.load_weight(a.q_weight, a.features, a.half), k_weight.load_weight(a.k_weight, a.features, a.half);
  dependency_wait();
  dependency_trigger();
  for (int64_t t = int64_t(blockIdx.x) * blockDim.z + threadIdx.z; t < a.tokens; t += int64_t(gridDim.x) * blockDim.z) {
    const int64_t position = a.positions[t], slot = slot_of(t, position);
    Head angle;
    angle.load_angle(a, position);
    const auto each_head = [&](const HeadRows &rows, int heads, const Head &weight, auto &&keep) {
      for (int begin = 0; begin < heads; begin += kHeld * int(blockDim.y)) {
        Head x[kHeld];
#pragma unroll
        for (int k = 0; k < kHeld; ++k) {
          const int h = begin + k * int(blockDim.y) + int(threadIdx.y);
          x[k].load(rows.at(t, h), h < heads ? a.features : 0, a.half);
        }
#pragma unroll
        for (int k = 0; k < kHeld; ++k) {
          const int h = begin + k * int(blockDim.y) + int(threadIdx.y);
          if (a.norm == kNormThenRope)
            x[k].normalise(weight, a.features, a.epsilon, [&](float range) { x[k].multiply(range); });
          x[k].rotate(angle, a.half);
          if (a.norm == kRopeThenNorm)
            x[k].normalise(weight, a.features, a.epsilon,
                           [&](float range) {  // the rotation may have left the range too
                             x[k].load(rows.at(t, h), h < heads ? a.features : 0, a.half);
                             x[k].multiply(range).rotate(angle, a.half);
                           });
          if (h < heads) keep(h, x[k]);
        }
      }
    };
    each_head(a.query, a.query_heads, q_weight, [&](int h, const Head &x) {
      Scalar *out = a.query_out.at(t, h);
      x.each_run(a.features, a.half, [&](int at, const auto &run) { store_floats(out + at, run); });
    });
    if (slot < 0) continue;
    const int64_t block = slot / a.block_size, offset = slot % a.block_size;
    each_head(a.key, a.kv_heads, k_weight, [&](int h, const Head &x) {
      const int64_t to = a.key_cache.at(block, h, offset);
      x.each_run(a.features, a.half, [&](int at, const auto &run) {
        store_floats(a.key_cache.data, a.key_cache.dtype, to + at, a.key_cache.scaled(run, h));
      });
    });
    for (int h = threadIdx.y; h < a.kv_heads; h += blockDim.y)
      for (int i = threadIdx.x * kWide; i < a.value_features; i += blockDim.x * kWide) {
        const Vec<Scalar, kWide> x = load<kWide>(a.value.at(t, h) + i);
        const int64_t to = a.value_cache.at(block, h, offset) + i;
        if (a.values_keep_bits)
          store(static_cast<Scalar *>(a.value_cache.data) + to, x);
        else
          store_floats(a.value_cache.data, a.value_cache.dtype, to, a.value_cache.scaled(to_float(x), h));
      }
  }
}

inline HeadRows rows_of(const Tensor &t) { return {t.as<Scalar>(), t.stride[0], t.stride[1]}; }

inline PagedCache cache_of(const Tensor &t, const Tensor &scale) {
  return {t.data,      t.dtype,    scale && scale.shape[0] > 1, scale ? scale.as<float>() : nullptr, t.stride[0],
          t.stride[1], t.stride[2]};
}

template <class Args>
QkNormRope described(const Args &a) {
  return {.query_out = rows_of(a.query_out),
          .query = rows_of(a.query),
          .key = rows_of(a.key),
          .value = rows_of(a.value),
          .key_cache = cache_of(a.key_cache, a.k_scale),
          .value_cache = cache_of(a.value_cache, a.v_scale),
          .values_keep_bits = !a.v_scale && a.value.dtype == a.value_cache.dtype,
          .cos_sin = a.cos_sin_cache.data,
          .cos_sin_stride = a.cos_sin_cache.stride[0],
          .cos_sin_dtype = a.cos_sin_cache.dtype,
          .positions = indices_of(a.positions),
          .q_weight = a.q_weight.template as<Scalar>(),
          .k_weight = a.k_weight.template as<Scalar>(),
          .tokens = a.T,
          .block_size = a.BS,
          .query_heads = int(a.QH),
          .kv_heads = int(a.KH),
          .features = int(a.D),
          .value_features = int(a.V),
          .half = int(a.R / 2),
          .norm = int(a.norm),
          .epsilon = float(a.epsilon)};
}

// Few tokens: all heads of a token at once. Many: a warp for each token, so that its angles are read once.
template <int N, int Units, bool Neox, class Args, class SlotOf>
opswap_status start_qk_norm_rope(const Args &a, const opswap_exec &exec, const SlotOf &slot_of) {
  const int64_t lanes = std::min<int64_t>(power_of_two(ceil_div<int64_t>(a.D, 2 * N)), kWarp), warp = kWarp / lanes;
  const int64_t threads = sms_of(exec) * kNormThreadsPerSm, tokens = std::max<int64_t>(a.T, 1);
  const int64_t most = std::min(kNormThreads / lanes, round_up(std::max<int64_t>({a.QH, a.KH, 1}), warp));
  const int64_t depth = std::clamp(threads / (lanes * tokens) / warp * warp, warp, most);
  const int64_t height = std::max<int64_t>(1, kNormThreads / 2 / (lanes * depth));
  const Geometry geometry{.grid = {std::min(ceil_div(a.T, height), threads / (lanes * depth * height))},
                          .block = {lanes, depth, height},
                          .pdl = true};
  return launch(exec, "qk_norm_rope_kernel", qk_norm_rope_kernel<N, Units, Neox, SlotOf>, geometry, described(a),
                slot_of);
}

template <int N, bool Neox, class Args, class SlotOf>
opswap_status start_qk_norm_rope(const Args &a, const opswap_exec &exec, const SlotOf &slot_of) {
  constexpr int kMost = kMostFeatures / (2 * N * kWarp);
  return a.D <= 2 * N * kWarp ? start_qk_norm_rope<N, 1, Neox>(a, exec, slot_of)
                              : start_qk_norm_rope<N, kMost, Neox>(a, exec, slot_of);
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

template <class Args, class SlotOf>
opswap_status qk_norm_rope(const Args &a, const opswap_exec &exec, const SlotOf &slot_of) {
  const auto start = [&]<bool Neox>(std::bool_constant<Neox>) {
    constexpr int kPairs = kWidePairs<Neox, Scalar>;
    return fits_pairs<kPairs, Neox>(a) ? start_qk_norm_rope<kPairs, Neox>(a, exec, slot_of)
                                       : start_qk_norm_rope<1, Neox>(a, exec, slot_of);
  };
  return a.is_neox ? start(std::true_type{}) : start(std::false_type{});
}

}  // namespace opswap::OPSWAP_PASS
