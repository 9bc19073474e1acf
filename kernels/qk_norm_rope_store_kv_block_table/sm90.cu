// qk_norm_rope_store_kv_block_table on sm_90a: norm and rotation of query and key heads, and the store of keys and
// values through a block table. The kernels of common/device/qk_norm_rope.h, with the place that the table gives each
// token.
#include "qk_norm_rope_store_kv_block_table.gen.h"

#include "common/device/qk_norm_rope.h"

namespace opswap::OPSWAP_PASS {

struct BlockTable {
  const int32_t *table;   // [sequences, MB]
  const int32_t *starts;  // [sequences + 1], rising
  int64_t stride, sequences, block_size;

  // The token's sequence is the first that ends behind it; tokens in front of the first or behind the last have none.
  OPSWAP_DEVICE int64_t operator()(int64_t t, int64_t position) const {
    int64_t low = 0, high = sequences;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (load<1>(starts + middle + 1)[0] <= t)
        low = middle + 1;
      else
        high = middle;
    }
    if (low == sequences || t < load<1>(starts)[0]) return -1;
    return load<1>(table + low * stride + position / block_size)[0] * block_size + position % block_size;
  }
};

// sass qk_norm_rope_kernel*: LDG.128 STG.128
OPSWAP_SM90(qk_norm_rope_store_kv_block_table) {
  return qk_norm_rope(
      a, exec,
      BlockTable{a.block_table.as<int32_t>(), a.query_start_loc.as<int32_t>(), a.block_table.stride[0], a.B, a.BS});
}

}  // namespace opswap::OPSWAP_PASS
