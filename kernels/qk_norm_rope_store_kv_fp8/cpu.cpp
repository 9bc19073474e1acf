// qk_norm_rope_store_kv_fp8 on a CPU: norm and rotation of query and key heads, queries as FP8 codes with a scale per
// token and head, and the store of keys and values as FP8 by slot. The loops of common/qk_norm_rope.h.
#include "qk_norm_rope_store_kv_fp8.gen.h"

#include "common/qk_norm_rope.h"

namespace opswap::OPSWAP_ISA {

static int64_t slot_of(const qk_norm_rope_store_kv_fp8_args &a, int64_t t) {
  return t < a.S ? index_at(a.slot_mapping, t) : -1;
}

OPSWAP_REF(qk_norm_rope_store_kv_fp8) {
  return qk_norm_rope_plain(a, [&](int64_t t) { return slot_of(a, t); });
}

OPSWAP_CPU(qk_norm_rope_store_kv_fp8) {
  return qk_norm_rope(a, [&](int64_t t) { return slot_of(a, t); });
}

}  // namespace opswap::OPSWAP_ISA
