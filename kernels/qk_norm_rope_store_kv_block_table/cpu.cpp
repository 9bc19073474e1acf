// qk_norm_rope_store_kv_block_table on a CPU: norm and rotation of query and key heads, and the store of keys and
// values through a block table. Checks of the table, and the loops of common/qk_norm_rope.h.
#include "qk_norm_rope_store_kv_block_table.gen.h"

#include <algorithm>

#include "common/qk_norm_rope.h"

namespace opswap::OPSWAP_ISA {

using Args = qk_norm_rope_store_kv_block_table_args;

// The sequence of token t: the first one that ends behind it; B when there is none.
static int64_t sequence_of(const Args &a, int64_t t) {
  int64_t low = 0, high = a.B;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    index_at(a.query_start_loc, middle + 1) <= t ? low = middle + 1 : high = middle;
  }
  return low;
}

static int64_t slot_of(const Args &a, int64_t t) {
  const int64_t b = sequence_of(a, t), position = index_at(a.positions, t);
  if (b == a.B || t < index_at(a.query_start_loc, 0)) return -1;
  return row<int32_t>(a.block_table, b)[position / a.BS] * a.BS + position % a.BS;
}

static opswap_status check_token(const Args &a, int64_t b, int64_t t) {
  const int64_t position = index_at(a.positions, t);
  if (position < 0 || position >= a.MB * a.BS)
    return fail(OPSWAP_E_VALUE,
                "qk_norm_rope_store_kv_block_table: positions[%lld] is %lld, needs 0 to %lld (MB * BS - 1)",
                (long long)t, (long long)position, (long long)(a.MB * a.BS - 1));
  const int32_t block = row<int32_t>(a.block_table, b)[position / a.BS];
  if (block < 0 || block >= a.NB)
    return fail(OPSWAP_E_VALUE,
                "qk_norm_rope_store_kv_block_table: block_table[%lld][%lld] is %d, needs 0 to %lld (NB - 1)",
                (long long)b, (long long)(position / a.BS), block, (long long)(a.NB - 1));
  return OPSWAP_OK;
}

OPSWAP_CHECK(qk_norm_rope_store_kv_block_table) {
  for (int64_t b = 0; b < a.B; ++b) {
    const int64_t begin = index_at(a.query_start_loc, b), end = index_at(a.query_start_loc, b + 1);
    if (begin < 0 || end < begin || end > a.T)
      return fail(OPSWAP_E_VALUE,
                  "qk_norm_rope_store_kv_block_table: query_start_loc[%lld..%lld] is %lld, %lld, needs to rise within "
                  "0 to T = %lld",
                  (long long)b, (long long)b + 1, (long long)begin, (long long)end, (long long)a.T);
    for (int64_t t = begin; t < end; ++t)
      if (opswap_status e = check_token(a, b, t)) return e;
  }
  return OPSWAP_OK;
}

OPSWAP_REF(qk_norm_rope_store_kv_block_table) {
  return qk_norm_rope_plain(a, [&](int64_t t) { return slot_of(a, t); });
}

OPSWAP_CPU(qk_norm_rope_store_kv_block_table) {
  return qk_norm_rope(a, [&](int64_t t) { return slot_of(a, t); });
}

}  // namespace opswap::OPSWAP_ISA
