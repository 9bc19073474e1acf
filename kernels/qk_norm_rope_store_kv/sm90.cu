// qk_norm_rope_store_kv on sm_90a: norm and rotation of query and key heads, and the store of keys and values by slot.
// The kernels of common/device/qk_norm_rope.h.
#include "qk_norm_rope_store_kv.gen.h"

#include "common/device/qk_norm_rope.h"

namespace opswap::OPSWAP_PASS {

// sass qk_norm_rope_kernel*: LDG.128 STG.128 loads>=152
OPSWAP_SM90(qk_norm_rope_store_kv) {
  return qk_norm_rope(a, exec, SlotMapping{indices_of(a.slot_mapping), a.S}, plain_out(a));
}

}  // namespace opswap::OPSWAP_PASS
