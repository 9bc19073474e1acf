// reshape_and_cache_fp8 on a CPU: each token's key and value as FP8 into its slot of the paged cache. Token by token.
#include "reshape_and_cache_fp8.gen.h"

#include "common/fp8_cache.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

using Args = reshape_and_cache_fp8_args;

template <bool Plain, class E>
static void store_heads(const Fp8Cache &cache, const Tensor &rows, int64_t t, int64_t block, int64_t offset) {
  for (int64_t h = 0; h < rows.shape[1]; ++h)
    cache.store_head<Plain>(block, h, offset, rows.as<E>() + t * rows.stride[0] + h * rows.stride[1], rows.shape[2]);
}

template <bool Plain, class E>
static void store_tokens(const Args &a, int64_t begin, int64_t end) {
  const Fp8Cache keys{a.key_cache, a.k_scale, a.k_scale_cache}, values{a.value_cache, a.v_scale, a.v_scale_cache};
  for (int64_t t = begin; t < end; ++t) {
    const int64_t slot = index_at(a.slot_mapping, t);
    if (slot < 0) continue;
    store_heads<Plain, E>(keys, a.key, t, slot / a.BS, slot % a.BS);
    store_heads<Plain, E>(values, a.value, t, slot / a.BS, slot % a.BS);
  }
}

OPSWAP_REF(reshape_and_cache_fp8) {
  with_float_type(a.scalar_dtype, [&]<class E>(E) { store_tokens<true, E>(a, 0, a.S); });
  return OPSWAP_OK;
}

// Two tokens of one call never share a slot in an engine, so tokens are independent.
OPSWAP_CPU(reshape_and_cache_fp8) {
  with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.S, rows_per_task(2 * a.KH * (a.D + a.V)),
                 [&](int64_t begin, int64_t end) { store_tokens<false, E>(a, begin, end); });
  });
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
