// concat_and_cache_mla on a CPU: rotation of key and query parts, and latent and key part of each token side by side in
// its slot. Token by token, with the loops of common/concat_mla.h.
#include "concat_and_cache_mla.gen.h"

#include <algorithm>

#include "common/concat_mla.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kLatents = 512;  // that pass through float32 at once

template <class Body>
static void with_stored_type(DType dtype, Body &&body) {
  if (dtype == DType::float8_e4m3fn) return body(e4m3{});
  with_float_type(dtype, body);
}

// What keeps its dtype and has no scale is moved bit by bit.
template <bool Plain, class E, class O>
static void store_latents(const concat_and_cache_mla_args &a, O *to, const E *x, float divisor) {
  if constexpr (std::is_same_v<E, O>)
    if (!a.scale) return void(std::memcpy(to, x, size_t(a.C) * sizeof(E)));
  float some[kLatents];
  for (int64_t i = 0; i < a.C; i += kLatents) {
    const int64_t n = std::min(kLatents, a.C - i);
    widen<Plain>(some, x + i, n);
    narrow<Plain>(to + i, some, n, divisor);
  }
}

template <bool Plain, class E>
static auto storing(const concat_and_cache_mla_args &a) {
  return [&a, divisor = a.scale ? *a.scale.as<float>() : 1.0f](int64_t t, int64_t slot, const float *key) {
    with_stored_type(a.cache_dtype, [&]<class O>(O) {
      O *to = slot_of<O>(a.kv_cache, slot);
      store_latents<Plain>(a, to, row<E>(a.kv_c, t), divisor);
      narrow<Plain>(to + a.C, key, a.R, divisor);
    });
  };
}

OPSWAP_REF(concat_and_cache_mla) {
  return with_scalar(a, [&]<class E>(E) { mla_tokens<true, E>(a, 0, a.T, storing<true, E>(a)); });
}

OPSWAP_CPU(concat_and_cache_mla) {
  return with_scalar(a, [&]<class E>(E) { mla_tokens_parallel<E>(a, storing<false, E>(a)); });
}

}  // namespace opswap::OPSWAP_ISA
