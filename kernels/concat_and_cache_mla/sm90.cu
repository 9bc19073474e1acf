// concat_and_cache_mla on sm_90a: rotation of key and query parts, and latent and key part of each token side by side
// in its slot. The kernels of common/device/concat_mla.h.
#include "concat_and_cache_mla.gen.h"

#include "common/device/concat_mla.h"

namespace opswap::OPSWAP_PASS {

struct PlainCache {
  void *data;  // [blocks, block_size, latents + key part]
  DType dtype;
  bool keeps_bits;  // latents are neither scaled nor converted
  const float *scale;
  int64_t block_stride, slot_stride;

  OPSWAP_DEVICE float given_scale() const { return scale ? load<1>(scale)[0] : 1.0f; }

  // True division, as everywhere that FP8 is made.
  template <int N>
  OPSWAP_DEVICE void store_scaled(int64_t to, Vec<float, N> x, float divisor) const {
    if (scale) {
#pragma unroll
      for (int i = 0; i < N; ++i) x[i] = __fdiv_rn(x[i], divisor);
    }
    store_floats(data, dtype, to, x);
  }

  template <int N>
  OPSWAP_DEVICE void store_latents(int64_t token, bool stored, const Latents<N> &x, int begin, int end,
                                   float divisor) const {
#pragma unroll
    for (int u = 0; u < Latents<N>::kUnits; ++u) {
      const int at = begin + Latents<N>::at(u);
      if (!stored || at >= end) continue;
      if (keeps_bits)
        store(static_cast<Scalar *>(data) + token + at, x.unit[u].elements());
      else
        store_scaled(token + at, to_float(x.unit[u].elements()), divisor);
    }
  }

  template <int N>
  OPSWAP_DEVICE void store_key(int64_t token, int at, const Vec<float, N> &run, int latents, float divisor) const {
    store_scaled(token + latents + at, run, divisor);
  }
};

OPSWAP_SM90_CAN(concat_and_cache_mla) { return mla_refusal(a); }

// sass concat_mla_kernel*: LDG.128 STG.128
OPSWAP_SM90(concat_and_cache_mla) {
  const PlainCache cache{a.kv_cache.data,     a.kv_cache.dtype,     !a.scale && a.kv_cache.dtype == a.kv_c.dtype,
                         a.scale.as<float>(), a.kv_cache.stride[0], a.kv_cache.stride[1]};
  return concat_mla(a, exec, fits(a.kv_cache, kWidest / int64_t(sizeof(Scalar))), cache);
}

}  // namespace opswap::OPSWAP_PASS
