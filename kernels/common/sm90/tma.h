// Copies by the tensor memory accelerator, between global and shared memory. One thread issues a copy; loads complete
// on an mbarrier, stores and reductions in groups of the issuing thread. Coordinates are in elements, contiguous first;
// what lies outside of the tensor is read as 0 and not written. A multicast load reads once and fills the same place in
// every block of the cluster whose rank's bit is set in `blocks`, and completes on the same barrier there.
#pragma once

#include <utility>

#include "common/sm90/mbarrier.h"
#include "common/sm90/tensor_map.h"

namespace opswap::sm90 {

enum class BulkReduce { add, min, max };

#ifdef OPSWAP_EMULATE

template <class... C>
OPSWAP_DEVICE void tma_load(void *smem, const TensorMap *map, Mbarrier &barrier, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_load(smem, map, &barrier, coordinates, sizeof...(C));
}
template <class... C>
OPSWAP_DEVICE void tma_load_multicast(void *smem, const TensorMap *map, Mbarrier &barrier, uint16_t blocks, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_load_multicast(smem, map, &barrier, coordinates, sizeof...(C), blocks);
}
template <class... C>
OPSWAP_DEVICE void tma_store(const TensorMap *map, const void *smem, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_store(map, smem, coordinates, sizeof...(C), -1);
}
template <BulkReduce Op = BulkReduce::add, class... C>
OPSWAP_DEVICE void tma_reduce(const TensorMap *map, const void *smem, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_store(map, smem, coordinates, sizeof...(C), int(Op));
}
OPSWAP_DEVICE void bulk_load(void *smem, const void *global, uint32_t bytes, Mbarrier &barrier) {
  emu::bulk_load(smem, global, bytes, &barrier);
}
OPSWAP_DEVICE void bulk_load_multicast(void *smem, const void *global, uint32_t bytes, Mbarrier &barrier,
                                       uint16_t blocks) {
  emu::bulk_load_multicast(smem, global, bytes, &barrier, blocks);
}
OPSWAP_DEVICE void bulk_store(void *global, const void *smem, uint32_t bytes) { emu::bulk_store(global, smem, bytes); }
OPSWAP_DEVICE void tma_commit() { emu::bulk_commit(); }
template <int Pending = 0>
OPSWAP_DEVICE void tma_wait() {
  emu::bulk_wait(Pending, false);
}
template <int Pending = 0>
OPSWAP_DEVICE void tma_wait_read() {
  emu::bulk_wait(Pending, true);
}
OPSWAP_DEVICE void tma_prefetch(const TensorMap *) {}

#else

#define OPSWAP_TMA_RANKS(X)                                                                                           \
  X(1, "%4", "{%3}", "{%2}", "r"(c0), int c0)                                                                         \
  X(2, "%5", "{%3, %4}", "{%2, %3}", "r"(c0)OPSWAP_COMMA "r"(c1), int c0, int c1)                                     \
  X(3, "%6", "{%3, %4, %5}", "{%2, %3, %4}", "r"(c0)OPSWAP_COMMA "r"(c1)OPSWAP_COMMA "r"(c2), int c0, int c1, int c2) \
  X(4, "%7", "{%3, %4, %5, %6}", "{%2, %3, %4, %5}",                                                                  \
    "r"(c0)OPSWAP_COMMA "r"(c1)OPSWAP_COMMA "r"(c2)OPSWAP_COMMA "r"(c3), int c0, int c1, int c2, int c3)              \
  X(5, "%8", "{%3, %4, %5, %6, %7}", "{%2, %3, %4, %5, %6}",                                                          \
    "r"(c0)OPSWAP_COMMA "r"(c1)OPSWAP_COMMA "r"(c2)OPSWAP_COMMA "r"(c3)OPSWAP_COMMA "r"(c4), int c0, int c1, int c2,  \
    int c3, int c4)
#define OPSWAP_COMMA ,

#define OPSWAP_TMA_COPIES(RANK, MASK, AT3, AT2, VALUES, ...)                                                           \
  OPSWAP_DEVICE void tma_load(void *smem, const TensorMap *map, Mbarrier &barrier, __VA_ARGS__) {                      \
    asm volatile("cp.async.bulk.tensor." #RANK "d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, " AT3 \
                 "], [%2];" ::"r"(smem_address(smem)),                                                                 \
                 "l"(map), "r"(smem_address(&barrier)), VALUES                                                         \
                 : "memory");                                                                                          \
  }                                                                                                                    \
  OPSWAP_DEVICE void tma_load_multicast(void *smem, const TensorMap *map, Mbarrier &barrier, uint16_t blocks,          \
                                        __VA_ARGS__) {                                                                 \
    asm volatile("cp.async.bulk.tensor." #RANK                                                                         \
                 "d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, " AT3            \
                 "], [%2], " MASK ";" ::"r"(smem_address(smem)),                                                       \
                 "l"(map), "r"(smem_address(&barrier)), VALUES, "h"(blocks)                                            \
                 : "memory");                                                                                          \
  }                                                                                                                    \
  OPSWAP_DEVICE void tma_store(const TensorMap *map, const void *smem, __VA_ARGS__) {                                  \
    asm volatile("cp.async.bulk.tensor." #RANK "d.global.shared::cta.bulk_group [%0, " AT2 "], [%1];" ::"l"(map),      \
                 "r"(smem_address(smem)), VALUES                                                                       \
                 : "memory");                                                                                          \
  }                                                                                                                    \
  template <BulkReduce Op = BulkReduce::add>                                                                           \
  OPSWAP_DEVICE void tma_reduce(const TensorMap *map, const void *smem, __VA_ARGS__) {                                 \
    if constexpr (Op == BulkReduce::add)                                                                               \
      asm volatile("cp.reduce.async.bulk.tensor." #RANK "d.global.shared::cta.add.bulk_group [%0, " AT2                \
                   "], [%1];" ::"l"(map),                                                                              \
                   "r"(smem_address(smem)), VALUES                                                                     \
                   : "memory");                                                                                        \
    else if constexpr (Op == BulkReduce::min)                                                                          \
      asm volatile("cp.reduce.async.bulk.tensor." #RANK "d.global.shared::cta.min.bulk_group [%0, " AT2                \
                   "], [%1];" ::"l"(map),                                                                              \
                   "r"(smem_address(smem)), VALUES                                                                     \
                   : "memory");                                                                                        \
    else                                                                                                               \
      asm volatile("cp.reduce.async.bulk.tensor." #RANK "d.global.shared::cta.max.bulk_group [%0, " AT2                \
                   "], [%1];" ::"l"(map),                                                                              \
                   "r"(smem_address(smem)), VALUES                                                                     \
                   : "memory");                                                                                        \
  }
OPSWAP_TMA_RANKS(OPSWAP_TMA_COPIES)
#undef OPSWAP_TMA_COPIES

// `bytes` and both addresses are multiples of 16.
OPSWAP_DEVICE void bulk_load(void *smem, const void *global, uint32_t bytes, Mbarrier &barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   smem_address(smem)),
               "l"(global), "r"(bytes), "r"(smem_address(&barrier))
               : "memory");
}
OPSWAP_DEVICE void bulk_load_multicast(void *smem, const void *global, uint32_t bytes, Mbarrier &barrier,
                                       uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], "
      "%4;" ::"r"(smem_address(smem)),
      "l"(global), "r"(bytes), "r"(smem_address(&barrier)), "h"(blocks)
      : "memory");
}
OPSWAP_DEVICE void bulk_store(void *global, const void *smem, uint32_t bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(global), "r"(smem_address(smem)),
               "r"(bytes)
               : "memory");
}
OPSWAP_DEVICE void tma_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until at most `Pending` committed groups are not yet written.
template <int Pending = 0>
OPSWAP_DEVICE void tma_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(Pending) : "memory");
}
// The same, but only until shared memory has been read and may be overwritten.
template <int Pending = 0>
OPSWAP_DEVICE void tma_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(Pending) : "memory");
}
OPSWAP_DEVICE void tma_prefetch(const TensorMap *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

#endif

}  // namespace opswap::sm90
