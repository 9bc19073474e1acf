// Tokens of multi-head latent attention on a CPU: rotation of the key part that all heads share and of query parts. A
// room says how a token is stored. Plain goes element by element, so that each room's yardstick is this as well.
#pragma once

#include "common/fp8.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kMostRope = 128;  // features that are rotated: op.json requires it

template <bool Plain, class E>
inline void widen(float *to, const E *x, int64_t n) {
  if constexpr (Plain) {
    for (int64_t i = 0; i < n; ++i) to[i] = to_float(x[i]);
  } else {
    for_lanes(
        n, [&](int64_t i) { store(to + i, load(x + i)); },
        [&](int64_t i, int64_t left) { store_tail(to + i, load_tail(x + i, left), left); });
  }
}

template <bool Plain, class E>
inline void narrow(E *to, const float *x, int64_t n, float divisor = 1.0f) {
  if constexpr (Plain) {
    for (int64_t i = 0; i < n; ++i) to[i] = from_float<E>(x[i] / divisor);
  } else {
    const vf by = splat(divisor);
    for_lanes(
        n, [&](int64_t i) { store(to + i, load(x + i) / by); },
        [&](int64_t i, int64_t left) { store_tail(to + i, load_tail(x + i, left) / by, left); });
  }
}

// The product with the cosine is rounded, the sum of it and the other product as well, on every implementation: a token
// has the same bytes whoever stores it.
template <int Step>
inline void rotate_pairs(float *x, const float *cos, int64_t half) {
  const float *sin = cos + half;
  float *first = x, *second = Step == 1 ? x + half : x + 1;
  for (int64_t i = 0; i < half; ++i) {
    const float a = first[i * Step], b = second[i * Step];
    first[i * Step] = __builtin_fmaf(-b, sin[i], a * cos[i]);
    second[i * Step] = __builtin_fmaf(a, sin[i], b * cos[i]);
  }
}

inline void rotate_part(float *x, const float *cos, int64_t half, bool neox) {
  neox ? rotate_pairs<1>(x, cos, half) : rotate_pairs<2>(x, cos, half);
}

// body(E{}) with the type of the call's elements; its stores keep subnormal numbers, as those of other processors do.
template <class Args, class Body>
inline opswap_status with_scalar(const Args &a, Body &&body) {
  with_float_type(a.scalar_dtype, body);
  return OPSWAP_OK;
}

// Tokens [begin, end): store(t, slot, key part) for those that have a slot.
template <bool Plain, class E, class Args, class Store>
inline void mla_tokens(const Args &a, int64_t begin, int64_t end, Store &&store_token) {
  float angle[kMostRope], x[kMostRope];
  for (int64_t t = begin; t < end; ++t) {
    with_float_type(a.angle_dtype,
                    [&]<class C>(C) { widen<Plain>(angle, row<C>(a.cos_sin_cache, index_at(a.positions, t)), a.R); });
    for (int64_t h = 0; h < a.QH; ++h) {
      widen<Plain>(x, row<E>(a.q_pe, t) + h * a.q_pe.stride[1], a.R);
      rotate_part(x, angle, a.R / 2, a.is_neox);
      narrow<Plain>(row<E>(a.q_pe_out, t) + h * a.q_pe_out.stride[1], x, a.R);
    }
    widen<Plain>(x, row<E>(a.k_pe, t), a.R);
    rotate_part(x, angle, a.R / 2, a.is_neox);
    if (a.k_pe_out) narrow<Plain>(row<E>(a.k_pe_out, t), x, a.R);
    const int64_t slot = t < a.S ? index_at(a.slot_mapping, t) : -1;
    if (slot >= 0) store_token(t, slot, x);
  }
}

template <class E, class Args, class Store>
inline void mla_tokens_parallel(const Args &a, Store &&store_token) {
  parallel_for(a.T, rows_per_task(2 * (a.QH * a.R + a.C + a.R)),
               [&](int64_t begin, int64_t end) { mla_tokens<false, E>(a, begin, end, store_token); });
}

// First element of the token in a slot.
template <class O>
inline O *slot_of(const Tensor &cache, int64_t slot) {
  return cache.as<O>() + slot / cache.shape[1] * cache.stride[0] + slot % cache.shape[1] * cache.stride[1];
}

}  // namespace opswap::OPSWAP_ISA
