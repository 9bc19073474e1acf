// qk_norm_rope_store_kv_fp8 on sm_90a: norm and rotation of query and key heads, queries as FP8 codes with a scale per
// token and head, and the store of keys and values as FP8 by slot. The kernels of common/device/qk_norm_rope.h.
#include "qk_norm_rope_store_kv_fp8.gen.h"

#include "common/device/fp8_cache.h"
#include "common/device/qk_norm_rope.h"

namespace opswap::OPSWAP_PASS {

struct Fp8Out {
  HeadRows<e4m3> query;
  float *q_scale;  // [T, QH]
  int64_t q_scale_stride;
  Fp8Cache key_cache, value_cache;

  static constexpr bool kWholeValues = true;  // for the scales that are made
  static constexpr int kMostFeatures = 512;   // of a head: op.json requires it
  struct Scales {
    float key, value;
  };
  OPSWAP_DEVICE Scales scales(int h) const { return {key_cache.given_of(h), value_cache.given_of(h)}; }

  template <class Head>
  OPSWAP_DEVICE void store_query(int64_t t, int h, bool real, const Head &x, const QkNormRope &a) const {
    const HeadScale by = HeadScale::made(over_lanes(x.largest()));
    if (!real) return;
    if (threadIdx.x == 0) store(q_scale + t * q_scale_stride + h, Vec<float, 1>{by.scale()});
    e4m3 *to = query.at(t, h);
    x.each_run(a.features, a.half, [&](int i, const auto &run) { store(to + i, by.codes(run)); });
  }
  template <class Head>
  OPSWAP_DEVICE void store_key(const Cell &cell, int h, bool real, const Head &x, const Scales &given,
                               const QkNormRope &a) const {
    const HeadScale by = key_cache.scale_of(given.key, x.largest());
    if (!real) return;
    key_cache.keep(cell, h, by);
    e4m3 *to = key_cache.head(cell, h);
    x.each_run(a.features, a.half, [&](int i, const auto &run) { store(to + i, by.codes(run)); });
  }
  template <int N, int Runs>
  OPSWAP_DEVICE void store_value(const Cell &cell, int h, bool real, int, const HeldHead<Scalar, N, Runs> &x,
                                 const Scales &given, const QkNormRope &a) const {
    const HeadScale by = value_cache.scale_of(given.value, x.largest());
    if (real) value_cache.store_held(x, a.value_features, cell, h, by);
  }
};

// sass qk_norm_rope_kernel*: LDG.128 loads>=152
OPSWAP_SM90(qk_norm_rope_store_kv_fp8) {
  const Fp8Out out{.query = heads_of<e4m3>(a.query_out),
                   .q_scale = a.q_scale.as<float>(),
                   .q_scale_stride = a.q_scale.stride[0],
                   .key_cache = fp8_cache(a.key_cache, a.k_scale_cache, a.k_scale),
                   .value_cache = fp8_cache(a.value_cache, a.v_scale_cache, a.v_scale)};
  return qk_norm_rope(a, exec, SlotMapping{indices_of(a.slot_mapping), a.S}, out);
}

}  // namespace opswap::OPSWAP_PASS
