// Clusters: blocks that run side by side, their barrier, and what one does to the shared memory of another.

#include <cstring>

#include "block.h"
#include "mbarrier.h"

namespace opswap::emu {
namespace {

void pass_if_complete(Cluster &c) {
  if (c.pending) return;
  ++c.generation;
  for (auto &b : c.blocks) c.pending += b->live;
  wake(c.waiting);
}

}  // namespace

void cluster_arrive() {
  race::Ignore ignore;
  Thread &t = self();
  Cluster &c = *t.owner->cluster;
  if (t.cluster_arrivals != t.cluster_waits)
    fail("barrier.cluster.arrive: this thread has arrived already and not waited (missing cluster_wait)");
  release(c.phase[t.cluster_arrivals++ & 1]);
  ++t.owner->counters->barriers;
  --c.pending;
  pass_if_complete(c);
}

void cluster_wait() {
  race::Ignore ignore;
  Thread &t = self();
  Cluster &c = *t.owner->cluster;
  if (t.cluster_arrivals == t.cluster_waits)
    fail("barrier.cluster.wait: this thread has not arrived (missing cluster_arrive)");
  converge_at_barrier();
  while (c.generation < t.cluster_arrivals)
    park(c.waiting, {"barrier.cluster.wait phase", nullptr, uint32_t(t.cluster_waits)});
  acquire(c.phase[t.cluster_waits++ & 1]);
  for (auto &b : c.blocks) acquire_dependency(b->waited);
}

// To the race check the end of a block is a write of its shared memory, after everything its threads did.
void cluster_thread_ended() {
  Thread &t = self();
  Block &b = *t.owner;
  Cluster &c = *b.cluster;
  if (c.blocks.size() > 1) {
    race::release(&b.live);
    if (b.live == 1) {
      race::acquire(&b.live);
      race::write(b.smem, b.smem_used);
    }
  }
  race::Ignore ignore;
  if (t.cluster_arrivals > c.generation) return;  // it has arrived
  --c.pending;
  pass_if_complete(c);
}

Block &peer(uint32_t rank, const char *what) {
  Cluster &c = *block().cluster;
  if (rank >= c.blocks.size()) fail("%s: rank %u of a cluster of %zu blocks", what, rank, c.blocks.size());
  Block &to = *c.blocks[rank];
  if (!to.live) fail("%s: block %u of the cluster has ended, and its shared memory with it", what, rank);
  return to;
}

void *map_shared(const void *p, uint32_t rank) {
  race::Ignore ignore;
  const uint32_t offset = smem_address(p);
  const Cluster &c = *block().cluster;
  if (rank >= c.blocks.size()) fail("mapa: rank %u of a cluster of %zu blocks", rank, c.blocks.size());
  return c.blocks[rank]->smem + offset;
}

void access_cluster(const void *p, uint32_t bytes, uint32_t rank, Access kind) {
  race::Ignore ignore;
  check_aligned(p, bytes);
  const char *what = kind == Access::kLoad ? "ld.shared::cluster" : "st.shared::cluster";
  Counters &counters = *block().counters;
  const OnPeer at(peer(rank, what));
  check_smem(p, bytes, what);
  (kind == Access::kLoad ? counters.peer_load_bytes : counters.peer_store_bytes) += bytes;
}

void cluster_mbarrier_arrive(uint64_t *barrier, uint32_t rank, uint32_t expected_bytes) {
  race::read(barrier, sizeof *barrier);  // its initialisation comes before
  race::Ignore ignore;
  const OnPeer at(peer(rank, "mbarrier.arrive.shared::cluster"));
  mbarrier_arrive_cluster(barrier, expected_bytes);
}

}  // namespace opswap::emu
