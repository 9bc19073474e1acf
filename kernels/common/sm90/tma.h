// Copies by the tensor memory accelerator, between global and shared memory. One thread issues a copy; loads complete
// on an mbarrier, stores and reductions in groups of the issuing thread. Coordinates are in elements, contiguous first;
// what lies outside of the tensor is read as 0 and not written. A multicast load reads once and fills the same place in
// every block of the cluster whose rank's bit is set in `blocks`, and completes on the same barrier there.
//
// Where elect_one() picks the thread, the copy is one instruction; where an if on threadIdx.x does, it stands in a loop
// over the threads that might have come.
#pragma once

#include <utility>

#include "common/sm90/cache_hint.h"
#include "common/sm90/elect.h"
#include "common/sm90/mbarrier.h"
#include "common/sm90/tensor_map.h"

namespace opswap::sm90 {

enum class BulkReduce { add, min, max };

#ifdef OPSWAP_EMULATE

template <Evict Order = Evict::normal, class... C>
OPSWAP_DEVICE void tma_load(void *smem, const TensorMap *map, Mbarrier &barrier, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_load(smem, map, &barrier, coordinates, sizeof...(C));
}
template <Evict Order = Evict::normal, class... C>
OPSWAP_DEVICE void tma_load_multicast(void *smem, const TensorMap *map, Mbarrier &barrier, uint16_t blocks, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_load_multicast(smem, map, &barrier, coordinates, sizeof...(C), blocks);
}
template <Evict Order = Evict::normal, class... C>
OPSWAP_DEVICE void tma_store(const TensorMap *map, const void *smem, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_store(map, smem, coordinates, sizeof...(C), -1);
}
template <BulkReduce Op = BulkReduce::add, Evict Order = Evict::normal, class... C>
OPSWAP_DEVICE void tma_reduce(const TensorMap *map, const void *smem, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_store(map, smem, coordinates, sizeof...(C), int(Op));
}
template <Evict Order = Evict::normal, class... C>
OPSWAP_DEVICE void tma_prefetch_l2(const TensorMap *map, C... at) {
  const int coordinates[] = {int(at)...};
  emu::tma_prefetch(map, coordinates, sizeof...(C));
}
template <Evict Order = Evict::normal>
OPSWAP_DEVICE void bulk_load(void *smem, const void *global, uint32_t bytes, Mbarrier &barrier) {
  emu::bulk_load(smem, global, bytes, &barrier);
}
template <Evict Order = Evict::normal>
OPSWAP_DEVICE void bulk_load_multicast(void *smem, const void *global, uint32_t bytes, Mbarrier &barrier,
                                       uint16_t blocks) {
  emu::bulk_load_multicast(smem, global, bytes, &barrier, blocks);
}
template <Evict Order = Evict::normal>
OPSWAP_DEVICE void bulk_store(void *global, const void *smem, uint32_t bytes) {
  emu::bulk_store(global, smem, bytes);
}
template <Evict Order = Evict::normal>
OPSWAP_DEVICE void bulk_prefetch_l2(const void *global, uint32_t bytes) {
  emu::bulk_prefetch(global, bytes);
}
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

// X(rank, coordinates of a load, a store and a prefetch, then what each has behind them, the coordinates themselves)
#define OPSWAP_TMA_RANKS(X)                                                                                          \
  X(1, "%3", "%2", "%1", "%4", "%5", "%3", "%2", "r"(c0), int c0)                                                    \
  X(2, "%3, %4", "%2, %3", "%1, %2", "%5", "%6", "%4", "%3", "r"(c0)OPSWAP_COMMA "r"(c1), int c0, int c1)            \
  X(3, "%3, %4, %5", "%2, %3, %4", "%1, %2, %3", "%6", "%7", "%5", "%4",                                             \
    "r"(c0)OPSWAP_COMMA "r"(c1)OPSWAP_COMMA "r"(c2), int c0, int c1, int c2)                                         \
  X(4, "%3, %4, %5, %6", "%2, %3, %4, %5", "%1, %2, %3, %4", "%7", "%8", "%6", "%5",                                 \
    "r"(c0)OPSWAP_COMMA "r"(c1)OPSWAP_COMMA "r"(c2)OPSWAP_COMMA "r"(c3), int c0, int c1, int c2, int c3)             \
  X(5, "%3, %4, %5, %6, %7", "%2, %3, %4, %5, %6", "%1, %2, %3, %4, %5", "%8", "%9", "%7", "%6",                     \
    "r"(c0)OPSWAP_COMMA "r"(c1)OPSWAP_COMMA "r"(c2)OPSWAP_COMMA "r"(c3)OPSWAP_COMMA "r"(c4), int c0, int c1, int c2, \
    int c3, int c4)
#define OPSWAP_COMMA ,

#define OPSWAP_TMA_COPIES(RANK, AT3, AT2, AT1, BEHIND3, BEHIND4, BEHIND2, BEHIND1, VALUES, ...)                    \
  template <Evict Order = Evict::normal>                                                                           \
  OPSWAP_DEVICE void tma_load(void *smem, const TensorMap *map, Mbarrier &barrier, __VA_ARGS__) {                  \
    OPSWAP_HINTED_COPY("cp.async.bulk.tensor." #RANK "d.shared::cluster.global.mbarrier::complete_tx::bytes",      \
                       "[%0], [%1, {" AT3 "}], [%2]", BEHIND3, "r"(smem_address(smem)), "l"(map),                  \
                       "r"(smem_address(&barrier)), VALUES);                                                       \
  }                                                                                                                \
  template <Evict Order = Evict::normal>                                                                           \
  OPSWAP_DEVICE void tma_load_multicast(void *smem, const TensorMap *map, Mbarrier &barrier, uint16_t blocks,      \
                                        __VA_ARGS__) {                                                             \
    OPSWAP_HINTED_COPY("cp.async.bulk.tensor." #RANK                                                               \
                       "d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster",                 \
                       "[%0], [%1, {" AT3 "}], [%2], " BEHIND3, BEHIND4, "r"(smem_address(smem)), "l"(map),        \
                       "r"(smem_address(&barrier)), VALUES, "h"(blocks));                                          \
  }                                                                                                                \
  template <Evict Order = Evict::normal>                                                                           \
  OPSWAP_DEVICE void tma_store(const TensorMap *map, const void *smem, __VA_ARGS__) {                              \
    OPSWAP_HINTED_COPY("cp.async.bulk.tensor." #RANK "d.global.shared::cta.bulk_group", "[%0, {" AT2 "}], [%1]",   \
                       BEHIND2, "l"(map), "r"(smem_address(smem)), VALUES);                                        \
  }                                                                                                                \
  template <BulkReduce Op = BulkReduce::add, Evict Order = Evict::normal>                                          \
  OPSWAP_DEVICE void tma_reduce(const TensorMap *map, const void *smem, __VA_ARGS__) {                             \
    if constexpr (Op == BulkReduce::add) {                                                                         \
      OPSWAP_HINTED_COPY("cp.reduce.async.bulk.tensor." #RANK "d.global.shared::cta.add.bulk_group",               \
                         "[%0, {" AT2 "}], [%1]", BEHIND2, "l"(map), "r"(smem_address(smem)), VALUES);             \
    } else if constexpr (Op == BulkReduce::min) {                                                                  \
      OPSWAP_HINTED_COPY("cp.reduce.async.bulk.tensor." #RANK "d.global.shared::cta.min.bulk_group",               \
                         "[%0, {" AT2 "}], [%1]", BEHIND2, "l"(map), "r"(smem_address(smem)), VALUES);             \
    } else {                                                                                                       \
      OPSWAP_HINTED_COPY("cp.reduce.async.bulk.tensor." #RANK "d.global.shared::cta.max.bulk_group",               \
                         "[%0, {" AT2 "}], [%1]", BEHIND2, "l"(map), "r"(smem_address(smem)), VALUES);             \
    }                                                                                                              \
  }                                                                                                                \
  template <Evict Order = Evict::normal>                                                                           \
  OPSWAP_DEVICE void tma_prefetch_l2(const TensorMap *map, __VA_ARGS__) {                                          \
    OPSWAP_HINTED_COPY("cp.async.bulk.prefetch.tensor." #RANK "d.L2.global", "[%0, {" AT1 "}]", BEHIND1, "l"(map), \
                       VALUES);                                                                                    \
  }
OPSWAP_TMA_RANKS(OPSWAP_TMA_COPIES)
#undef OPSWAP_TMA_COPIES

// `bytes` and both addresses are multiples of 16.
template <Evict Order = Evict::normal>
OPSWAP_DEVICE void bulk_load(void *smem, const void *global, uint32_t bytes, Mbarrier &barrier) {
  OPSWAP_HINTED_COPY("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes", "[%0], [%1], %2, [%3]", "%4",
                     "r"(smem_address(smem)), "l"(global), "r"(bytes), "r"(smem_address(&barrier)));
}
template <Evict Order = Evict::normal>
OPSWAP_DEVICE void bulk_load_multicast(void *smem, const void *global, uint32_t bytes, Mbarrier &barrier,
                                       uint16_t blocks) {
  OPSWAP_HINTED_COPY("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster",
                     "[%0], [%1], %2, [%3], %4", "%5", "r"(smem_address(smem)), "l"(global), "r"(bytes),
                     "r"(smem_address(&barrier)), "h"(blocks));
}
template <Evict Order = Evict::normal>
OPSWAP_DEVICE void bulk_store(void *global, const void *smem, uint32_t bytes) {
  OPSWAP_HINTED_COPY("cp.async.bulk.global.shared::cta.bulk_group", "[%0], [%1], %2", "%3", "l"(global),
                     "r"(smem_address(smem)), "r"(bytes));
}
// To L2 and no further; nobody waits for it, and a kernel may ask before it may read (dependency_wait).
template <Evict Order = Evict::normal>
OPSWAP_DEVICE void bulk_prefetch_l2(const void *global, uint32_t bytes) {
  OPSWAP_HINTED_COPY("cp.async.bulk.prefetch.L2.global", "[%0], %1", "%2", "l"(global), "r"(bytes));
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
// The map itself.
OPSWAP_DEVICE void tma_prefetch(const TensorMap *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

#endif

}  // namespace opswap::sm90
