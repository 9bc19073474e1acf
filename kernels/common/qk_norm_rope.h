// RMS norm and rotation of query and key heads, and the store of keys and values into a paged cache, as they are or as
// FP8. A head passes through float32 rows on the stack, so that every pair of dtypes costs one load loop and one store
// loop.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/fp8_cache.h"
#include "common/norm.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kMostFeatures = 1024;  // of one head: op.json requires it
enum NormOrder : int64_t { kNoNorm, kNormThenRope, kRopeThenNorm };

template <class Body>
inline void with_stored_type(DType dtype, Body &&body) {
  if (dtype == DType::float8_e4m3fn) return body(e4m3{});
  with_vector_type(dtype, body);
}

inline char *element(const Tensor &t, int64_t offset) { return t.as<char>() + offset * dtype_bytes(t.dtype); }

inline void load_row(float *to, DType dtype, const void *from, int64_t n) {
  with_vector_type(dtype, [&]<class E>(E) {
    const E *x = static_cast<const E *>(from);
    for_lanes(
        n, [&](int64_t i) { store(to + i, load(x + i)); },
        [&](int64_t i, int64_t left) { store_tail(to + i, load_tail(x + i, left), left); });
  });
}

inline void store_row(DType dtype, void *to, const float *x, int64_t n, float divisor) {
  with_stored_type(dtype, [&]<class E>(E) {
    E *out = static_cast<E *>(to);
    for_lanes(
        n, [&](int64_t i) { store(out + i, load(x + i) / divisor); },
        [&](int64_t i, int64_t left) { store_tail(out + i, load_tail(x + i, left) / divisor, left); });
  });
}

// One row of features in float32 and what is done to it; Plain computes in double, one feature at a time.
template <bool Plain>
struct HeadMath {
  static void norm(float *x, const float *weight, int64_t n, double epsilon) {
    const float mean_square = Plain ? 0 : sum_of_squares(x, n) / float(n) + float(epsilon);
    if (Plain || !in_range(mean_square)) return rms_norm_row_plain(x, x, weight, n, epsilon);
    const float scale = 1.0f / __builtin_sqrtf(mean_square);
    if (weight) return scale_by_weight(x, x, weight, n, scale);
    for (int64_t i = 0; i < n; ++i) x[i] *= scale;
  }

  static void rotate(float *x, const float *cos, int64_t half, bool neox) {
    const float *sin = cos + half;
    const int64_t step = neox ? 1 : 2, apart = neox ? half : 1;
    int64_t i = 0;
    if (!Plain && neox) {
      for (; i + kLanes <= half; i += kLanes) {
        const vf a = load(x + i), b = load(x + half + i), c = load(cos + i), s = load(sin + i);
        store(x + i, a * c - b * s);
        store(x + half + i, b * c + a * s);
      }
    }
    for (; i < half; ++i) {
      float &a = x[i * step], &b = x[i * step + apart];
      const double first = a, second = b;
      a = float(first * cos[i] - second * sin[i]);
      b = float(second * cos[i] + first * sin[i]);
    }
  }
};

// What a head is multiplied by before it is rotated, if that has lost what a norm behind it brings back: beyond the
// largest float, or to rounding near zero.
inline float before_rotation(const float *rotated, int64_t n) {
  uint32_t bits = 0;
  for (int64_t i = 0; i < n; ++i) bits = std::max(bits, std::bit_cast<uint32_t>(rotated[i]) & 0x7fffffff);
  const float largest = std::bit_cast<float>(bits);
  return !(largest <= __FLT_MAX__) ? 0x1p-8f : largest < 0x1p-90f ? 0x1p90f : 1;
}

inline float scale_of(const Tensor &scale, int64_t head) {
  return scale && scale.shape[0] ? scale.as<float>()[scale.shape[0] == 1 ? 0 : head] : 1.0f;
}

// Rooms whose queries are codes, and whose cache is made by the FP8 rule.
template <class Args>
concept MakesFp8 = requires(const Args &a) { a.q_scale; };

// Work that is the same for all tokens: the weights as float32.
template <bool Plain, class Args>
struct QkNormRope {
  const Args &a;
  float q_weight[kMostFeatures], k_weight[kMostFeatures];
  float cos_sin[kMostFeatures], x[kMostFeatures];

  explicit QkNormRope(const Args &args) : a(args) {
    if (a.q_weight) load_row(q_weight, a.q_weight.dtype, a.q_weight.data, a.D);
    if (a.k_weight) load_row(k_weight, a.k_weight.dtype, a.k_weight.data, a.D);
  }

  void head(const Tensor &from, int64_t t, int64_t h, const float *weight) {
    using Math = HeadMath<Plain>;
    const char *begin = element(from, t * from.stride[0] + h * from.stride[1]);
    load_row(x, from.dtype, begin, a.D);
    if (a.norm == kNormThenRope) Math::norm(x, weight, a.D, a.epsilon);
    Math::rotate(x, cos_sin, a.R / 2, a.is_neox);
    if (a.norm != kRopeThenNorm) return;
    const float factor = before_rotation(x, a.D);
    if (factor != 1) [[unlikely]] {
      load_row(x, from.dtype, begin, a.D);
      for (int64_t i = 0; i < a.D; ++i) x[i] *= factor;
      Math::rotate(x, cos_sin, a.R / 2, a.is_neox);
    }
    Math::norm(x, weight, a.D, a.epsilon * factor * factor);
  }

  static char *cached(const Tensor &cache, int64_t block, int64_t h, int64_t offset) {
    return element(cache, block * cache.stride[0] + h * cache.stride[1] + offset * cache.stride[2]);
  }

  void store_value(int64_t t, int64_t h, char *to) {
    const char *from = element(a.value, t * a.value.stride[0] + h * a.value.stride[1]);
    if (!a.v_scale && a.value.dtype == a.value_cache.dtype) {
      std::memcpy(to, from, size_t(a.V * dtype_bytes(a.value.dtype)));
      return;
    }
    for (int64_t i = 0; i < a.V; i += kMostFeatures) {
      const int64_t n = a.V - i < kMostFeatures ? a.V - i : kMostFeatures;
      load_row(x, a.value.dtype, from + i * dtype_bytes(a.value.dtype), n);
      store_row(a.value_cache.dtype, to + i * dtype_bytes(a.value_cache.dtype), x, n, scale_of(a.v_scale, h));
    }
  }

  void store_query(int64_t t, int64_t h) {
    char *to = element(a.query_out, t * a.query_out.stride[0] + h * a.query_out.stride[1]);
    if constexpr (MakesFp8<Args>)
      row<float>(a.q_scale, t)[h] = quantize_head<Plain>(reinterpret_cast<e4m3 *>(to), x, a.D, nullptr);
    else
      store_row(a.query_out.dtype, to, x, a.D, 1.0f);
  }

  // The key in x, and the value.
  void store_kv(int64_t t, int64_t h, int64_t block, int64_t offset) {
    if constexpr (MakesFp8<Args>) {
      const Fp8Cache keys{a.key_cache, a.k_scale, a.k_scale_cache}, values{a.value_cache, a.v_scale, a.v_scale_cache};
      keys.template store_head<Plain>(block, h, offset, x, a.D);
      with_vector_type(a.value.dtype, [&]<class E>(E) {
        const E *from = a.value.template as<E>() + t * a.value.stride[0] + h * a.value.stride[1];
        values.template store_head<Plain>(block, h, offset, from, a.V);
      });
    } else {
      store_row(a.key_cache.dtype, cached(a.key_cache, block, h, offset), x, a.D, scale_of(a.k_scale, h));
      store_value(t, h, cached(a.value_cache, block, h, offset));
    }
  }

  // slot < 0: the token's query is computed, its key and value are not stored.
  void token(int64_t t, int64_t slot) {
    load_row(cos_sin, a.cos_sin_cache.dtype,
             element(a.cos_sin_cache, index_at(a.positions, t) * a.cos_sin_cache.stride[0]), a.R);
    for (int64_t h = 0; h < a.QH; ++h) {
      head(a.query, t, h, a.q_weight ? q_weight : nullptr);
      store_query(t, h);
    }
    if (slot < 0) return;
    for (int64_t h = 0; h < a.KH; ++h) {
      head(a.key, t, h, a.k_weight ? k_weight : nullptr);
      store_kv(t, h, slot / a.BS, slot % a.BS);
    }
  }
};

// slot_of(t): where token t goes, or -1.
template <class Args, class SlotOf>
inline opswap_status qk_norm_rope_plain(const Args &a, SlotOf &&slot_of) {
  QkNormRope<true, Args> work(a);
  for (int64_t t = 0; t < a.T; ++t) work.token(t, slot_of(t));
  return OPSWAP_OK;
}

template <class Args, class SlotOf>
inline opswap_status qk_norm_rope(const Args &a, SlotOf &&slot_of) {
  parallel_for(a.T, rows_per_task(2 * (a.QH + a.KH) * a.D), [&](int64_t begin, int64_t end) {
    QkNormRope<false, Args> work(a);
    for (int64_t t = begin; t < end; ++t) work.token(t, slot_of(t));
  });
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
