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
  // The lanes of a warp, which have one token, look at the ends of 32 parts of what is left at once.
  OPSWAP_DEVICE Place operator()(const Indices &positions, int64_t t) const {
    const int64_t position = positions[t];
    const int32_t start = load<1>(starts)[0];
    const int64_t lane = (threadIdx.y * blockDim.x + threadIdx.x) % kWarp;
    int64_t low = 0, high = sequences;
    while (low < high) {
      const int64_t part = ceil_div<int64_t>(high - low, kWarp), end = low + (lane + 1) * part;
      const bool ended = end <= high && load<1>(starts + end)[0] <= t;
      low += __popc(__ballot_sync(kAllLanes, ended)) * part;
      high = part == 1 ? low : std::min(high, low + part);
    }
    if (low == sequences || t < start) return {position, -1};
    return {position, load<1>(table + low * stride + position / block_size)[0] * block_size + position % block_size};
  }
};

// sass qk_norm_rope_kernel*: LDG.128 STG.128 loads>=152
OPSWAP_SM90(qk_norm_rope_store_kv_block_table) {
  return qk_norm_rope(
      a, exec,
      BlockTable{a.block_table.as<int32_t>(), a.query_start_loc.as<int32_t>(), a.block_table.stride[0], a.B, a.BS},
      plain_out(a));
}

}  // namespace opswap::OPSWAP_PASS
