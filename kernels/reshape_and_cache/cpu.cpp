// reshape_and_cache on a CPU: each token's key and value into its slot of the paged cache. Token by token.
#include "reshape_and_cache.gen.h"

#include <cstring>

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Copies the heads of token t into block/offset of a cache [NB, KH, BS, n].
static void copy_heads(const Tensor &cache, const Tensor &source, int64_t t, int64_t block, int64_t offset, int64_t n) {
  const int64_t bytes = dtype_bytes(cache.dtype);
  const char *from = source.as<char>() + t * source.stride[0] * bytes;
  char *to = cache.as<char>() + (block * cache.stride[0] + offset * cache.stride[2]) * bytes;
  for (int64_t h = 0; h < source.shape[1]; ++h)
    std::memcpy(to + h * cache.stride[1] * bytes, from + h * source.stride[1] * bytes, size_t(n * bytes));
}

static void copy_tokens(const reshape_and_cache_args &a, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const int64_t slot = index_at(a.slot_mapping, t);
    if (slot < 0) continue;
    copy_heads(a.key_cache, a.key, t, slot / a.BS, slot % a.BS, a.D);
    copy_heads(a.value_cache, a.value, t, slot / a.BS, slot % a.BS, a.V);
  }
}

OPSWAP_REF(reshape_and_cache) {
  copy_tokens(a, 0, a.S);
  return OPSWAP_OK;
}

// Two tokens of one call never share a slot in an engine, so tokens are independent; a copy needs no SIMD of its own.
OPSWAP_CPU(reshape_and_cache) {
  parallel_for(a.S, rows_per_task(a.KH * (a.D + a.V)), [&](int64_t begin, int64_t end) { copy_tokens(a, begin, end); });
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
