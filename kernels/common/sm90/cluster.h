// Thread block clusters: up to 16 blocks (8 without asking) that run at the same time, meet at a barrier of their own
// and reach each other's shared memory. `Geometry::cluster` makes them. A block must not end while a peer may still
// reach into it: cluster_sync() before the end.
#pragma once

#include <type_traits>

#include "common/sm90/mbarrier.h"

namespace opswap::device {

template <class T>
inline constexpr int kWords = [] {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16, "an access of a peer has 4, 8 or 16 bytes");
  return int(sizeof(T) / 4);
}();

}  // namespace opswap::device

namespace opswap::sm90 {

// A place in the shared memory of some block of this cluster; only the functions here take it.
template <class T>
struct ClusterPtr {
#ifdef OPSWAP_EMULATE
  T *at;
  uint32_t rank;
  OPSWAP_DEVICE ClusterPtr operator+(int n) const { return {at + n, rank}; }
#else
  uint32_t address;
  OPSWAP_DEVICE ClusterPtr operator+(int n) const { return {address + uint32_t(n) * uint32_t(sizeof(T))}; }
#endif
};

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE uint32_t cluster_rank() { return emu::block_view->rank; }
OPSWAP_DEVICE uint32_t cluster_blocks() {
  const dim3 &size = emu::block_view->cluster_size;
  return size.x * size.y * size.z;
}
OPSWAP_DEVICE uint3 block_in_cluster() {
  const auto &[block, threads, grid, size, rank] = *emu::block_view;
  return {block.x % size.x, block.y % size.y, block.z % size.z};
}
OPSWAP_DEVICE uint3 cluster_in_grid() {
  const auto &[block, threads, grid, size, rank] = *emu::block_view;
  return {block.x / size.x, block.y / size.y, block.z / size.z};
}
OPSWAP_DEVICE void cluster_arrive() { emu::cluster_arrive(); }
OPSWAP_DEVICE void cluster_wait() { emu::cluster_wait(); }

template <class T>
OPSWAP_DEVICE ClusterPtr<T> map_shared(T *mine, uint32_t rank) {
  return {static_cast<T *>(emu::map_shared(mine, rank)), rank};
}
template <class T>
OPSWAP_DEVICE std::remove_const_t<T> cluster_load(ClusterPtr<T> from) {
  emu::access_cluster(from.at, 4 * device::kWords<T>, from.rank, emu::Access::kLoad);
  return *from.at;
}
template <class T>
OPSWAP_DEVICE void cluster_store(ClusterPtr<T> to, const T &word) {
  emu::access_cluster(to.at, 4 * device::kWords<T>, to.rank, emu::Access::kStore);
  *to.at = word;
}
OPSWAP_DEVICE void mbarrier_arrive(ClusterPtr<Mbarrier> b) { emu::cluster_mbarrier_arrive(b.at, b.rank, 0); }
OPSWAP_DEVICE void mbarrier_arrive_expect(ClusterPtr<Mbarrier> b, uint32_t bytes) {
  emu::cluster_mbarrier_arrive(b.at, b.rank, bytes);
}
OPSWAP_DEVICE void mbarrier_arrive_read(ClusterPtr<Mbarrier> b) { emu::cluster_mbarrier_arrive(b.at, b.rank, 0); }
OPSWAP_DEVICE bool mbarrier_test_cluster(Mbarrier &b, uint32_t parity) {
  return emu::cluster_mbarrier_test(&b, parity);
}
OPSWAP_DEVICE void mbarrier_wait_cluster(Mbarrier &b, uint32_t parity) { emu::cluster_mbarrier_wait(&b, parity); }
template <class T>
OPSWAP_DEVICE void cluster_copy(ClusterPtr<T> to, const T *smem, uint32_t bytes, ClusterPtr<Mbarrier> barrier) {
  if (to.rank != barrier.rank)
    emu::fail("cluster_copy: the barrier is of block %u, the data of %u", barrier.rank, to.rank);
  emu::cluster_copy(to.at, smem, bytes, barrier.at, to.rank);
}

#else

OPSWAP_DEVICE uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
OPSWAP_DEVICE uint32_t cluster_blocks() {
  uint32_t count;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(count));
  return count;
}
OPSWAP_DEVICE uint3 block_in_cluster() {
  uint3 at;
  asm("mov.u32 %0, %%cluster_ctaid.x;\n\tmov.u32 %1, %%cluster_ctaid.y;\n\tmov.u32 %2, %%cluster_ctaid.z;"
      : "=r"(at.x), "=r"(at.y), "=r"(at.z));
  return at;
}
OPSWAP_DEVICE uint3 cluster_in_grid() {
  uint3 at;
  asm("mov.u32 %0, %%clusterid.x;\n\tmov.u32 %1, %%clusterid.y;\n\tmov.u32 %2, %%clusterid.z;"
      : "=r"(at.x), "=r"(at.y), "=r"(at.z));
  return at;
}

// The barrier of the cluster: every thread that has not ended arrives, and waits once for each arrival. What was
// written before arriving, also to peers, is seen after waiting.
OPSWAP_DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
OPSWAP_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }

// The same place as `mine`, in the shared memory of the block of this rank.
template <class T>
OPSWAP_DEVICE ClusterPtr<T> map_shared(T *mine, uint32_t rank) {
  ClusterPtr<T> there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there.address) : "r"(smem_address(mine)), "r"(rank));
  return there;
}

// One access of 4, 8 or 16 bytes.
template <class T>
OPSWAP_DEVICE std::remove_const_t<T> cluster_load(ClusterPtr<T> from) {
  uint32_t r[device::kWords<T>];
  if constexpr (sizeof(T) == 4)
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(r[0]) : "r"(from.address) : "memory");
  else if constexpr (sizeof(T) == 8)
    asm volatile("ld.shared::cluster.v2.u32 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(from.address) : "memory");
  else
    asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from.address)
                 : "memory");
  std::remove_const_t<T> word;
  memcpy(&word, r, sizeof word);
  return word;
}
template <class T>
OPSWAP_DEVICE void cluster_store(ClusterPtr<T> to, const T &word) {
  uint32_t r[device::kWords<T>];
  memcpy(r, &word, sizeof word);
  if constexpr (sizeof(T) == 4)
    asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(to.address), "r"(r[0]) : "memory");
  else if constexpr (sizeof(T) == 8)
    asm volatile("st.shared::cluster.v2.u32 [%0], {%1, %2};" ::"r"(to.address), "r"(r[0]), "r"(r[1]) : "memory");
  else
    asm volatile("st.shared::cluster.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to.address), "r"(r[0]), "r"(r[1]), "r"(r[2]),
                 "r"(r[3])
                 : "memory");
}

// Arrivals at a barrier of any block. Its owner waits with mbarrier_wait_cluster to see what they did before.
OPSWAP_DEVICE void mbarrier_arrive(ClusterPtr<Mbarrier> b) {
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(b.address) : "memory");
}
OPSWAP_DEVICE void mbarrier_arrive_expect(ClusterPtr<Mbarrier> b, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [%0], %1;" ::"r"(b.address), "r"(bytes)
               : "memory");
}
// An arrival of who has read and has written nothing for others: it costs no fence over the cluster.
OPSWAP_DEVICE void mbarrier_arrive_read(ClusterPtr<Mbarrier> b) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(b.address) : "memory");
}
OPSWAP_DEVICE bool mbarrier_test_cluster(Mbarrier &b, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, "
      "0, "
      "p;\n\t}"
      : "=r"(done)
      : "r"(smem_address(&b)), "r"(parity)
      : "memory");
  return done;
}
OPSWAP_DEVICE void mbarrier_wait_cluster(Mbarrier &b, uint32_t parity) {
  while (!mbarrier_test_cluster(b, parity)) {
  }
}

// `bytes`, a multiple of 16 as the addresses, from this block to a peer; its `barrier` counts them.
template <class T>
OPSWAP_DEVICE void cluster_copy(ClusterPtr<T> to, const T *smem, uint32_t bytes, ClusterPtr<Mbarrier> barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to.address),
      "r"(smem_address(smem)), "r"(bytes), "r"(barrier.address)
      : "memory");
}

#endif

OPSWAP_DEVICE void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

}  // namespace opswap::sm90
