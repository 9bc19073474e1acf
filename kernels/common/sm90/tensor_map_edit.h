// Edits of a tensor map by a kernel: one thread changes a copy in shared memory (aligned to 128 bytes), a whole warp
// publishes it to global memory, and whoever copies by it afterwards acquires it first. Barriers order the threads as
// for any other memory.
#pragma once

#include "common/sm90/mbarrier.h"
#include "common/sm90/tensor_map.h"

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE void map_set_address(TensorMap &map, const void *address) { emu::edit_address(&map, address); }
template <int Dim>
OPSWAP_DEVICE void map_set_extent(TensorMap &map, uint32_t extent) {
  static_assert(Dim >= 0 && Dim < 5, "a map has 5 dimensions");
  emu::edit_extent(&map, Dim, extent);
}
template <int Dim>
OPSWAP_DEVICE void map_set_stride(TensorMap &map, uint64_t bytes) {
  static_assert(Dim >= 1 && Dim < 5, "dimension 0 is contiguous");
  emu::edit_stride(&map, Dim, bytes);
}
OPSWAP_DEVICE void map_publish(TensorMap *global, const TensorMap &map) { emu::publish_map(global, &map); }
OPSWAP_DEVICE void map_acquire(const TensorMap *global) { emu::acquire_map(global); }

#else

// Of the tensor; a multiple of 16.
OPSWAP_DEVICE void map_set_address(TensorMap &map, const void *address) {
  asm volatile("tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%0], %1;" ::"r"(smem_address(&map)),
               "l"(__cvta_generic_to_global(address))
               : "memory");
}
// Elements along a dimension, the contiguous one is 0.
template <int Dim>
OPSWAP_DEVICE void map_set_extent(TensorMap &map, uint32_t extent) {
  static_assert(Dim >= 0 && Dim < 5, "a map has 5 dimensions");
  asm volatile("tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%0], %1, %2;" ::"r"(smem_address(&map)),
               "n"(Dim), "r"(extent)
               : "memory");
}
// Bytes from one index of dimension Dim to the next; a multiple of 16.
template <int Dim>
OPSWAP_DEVICE void map_set_stride(TensorMap &map, uint64_t bytes) {
  static_assert(Dim >= 1 && Dim < 5, "dimension 0 is contiguous");
  asm volatile("tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%0], %1, %2;" ::"r"(smem_address(&map)),
               "n"(Dim - 1), "l"(bytes)
               : "memory");
}
OPSWAP_DEVICE void map_publish(TensorMap *global, const TensorMap &map) {
  asm volatile(
      "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%0], [%1], 128;" ::"l"(
          __cvta_generic_to_global(global)),
      "r"(smem_address(&map))
      : "memory");
}
OPSWAP_DEVICE void map_acquire(const TensorMap *global) {
  asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(global) : "memory");
}

#endif

}  // namespace opswap::sm90
