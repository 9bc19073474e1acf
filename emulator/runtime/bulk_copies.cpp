// Copies of runs of bytes, from and to global memory and to a peer's shared memory.
#include <cstring>

#include "copy_unit.h"
#include "mbarrier.h"

namespace opswap::emu {

static void check_multiples(const void *global, uint32_t bytes, const char *what) {
  if (bytes % 16 || !bytes || reinterpret_cast<uintptr_t>(global) % 16)
    fail("%s: %u bytes at %p, both must be multiples of 16", what, bytes, global);
}

static void check_bulk(const void *global, uint32_t bytes, Access kind, const char *what) {
  check_multiples(global, bytes, what);
  check_global(global, bytes, kind, what);
  block().counters->copied_bytes += bytes;
}

static void linear_load(void *smem, const void *global, uint32_t bytes, uint64_t *barrier, uint32_t blocks,
                        const void *asked) {
  check_bulk(global, bytes, Access::kLoad, "cp.async.bulk load");
  check_destination(smem, bytes, 16, "cp.async.bulk load");
  const auto targets = targets_of(blocks, barrier, "cp.async.bulk load");
  auto copy = std::make_unique<Copy>();
  copy->asked = asked;
  copy->into = blocks_of(targets);
  copy->write = [=] {
    block().traffic->global(reinterpret_cast<uint64_t>(global), bytes, Access::kLoad);
    for (const Target &target : targets) {
      must_live(*target.block);
      move(target(smem), global, bytes);
      complete(target, barrier, bytes);
    }
  };
  copies().add(std::move(copy), copies().bulk);
}

void bulk_load(void *smem, const void *global, uint32_t bytes, uint64_t *barrier) {
  race::Ignore ignore;
  linear_load(smem, global, bytes, barrier, 1u << block().rank, __builtin_return_address(0));
}
void bulk_load_multicast(void *smem, const void *global, uint32_t bytes, uint64_t *barrier, uint32_t blocks) {
  race::Ignore ignore;
  linear_load(smem, global, bytes, barrier, blocks, __builtin_return_address(0));
}

void cluster_copy(void *to, const void *smem, uint32_t bytes, uint64_t *barrier, uint32_t rank) {
  race::Ignore ignore;
  constexpr const char *kWhat = "cp.async.bulk.shared::cluster.shared::cta";
  if (bytes % 16 || !bytes) fail("%s: %u bytes, needs a multiple of 16", kWhat, bytes);
  check_destination(smem, bytes, 16, kWhat);
  Block &there = peer(rank, kWhat);
  {
    const OnPeer at(there);
    check_destination(to, bytes, 16, kWhat);
    mbarrier_check(barrier);
  }
  auto copy = std::make_unique<Copy>();
  copy->asked = __builtin_return_address(0);
  block().counters->copied_bytes += bytes;
  block().counters->peer_store_bytes += bytes;
  copy->into = {&there};
  auto data = std::make_shared<std::vector<char>>(bytes);
  copy->read = [=] { race::read(smem, bytes), std::memcpy(data->data(), smem, bytes); };
  copy->write = [=, &there] {
    must_live(there);
    race::write(to, bytes);
    std::memcpy(to, data->data(), bytes);
    complete({&there, 0}, barrier, bytes);
  };
  copies().add(std::move(copy), copies().bulk);
}

void bulk_store(void *global, const void *smem, uint32_t bytes) {
  race::Ignore ignore;
  check_bulk(global, bytes, Access::kStore, "cp.async.bulk store");
  check_destination(smem, bytes, 16, "cp.async.bulk store");
  auto copy = std::make_unique<Copy>();
  copy->asked = __builtin_return_address(0);
  auto data = std::make_shared<std::vector<char>>(bytes);
  copy->read = [=] { race::read(smem, bytes), std::memcpy(data->data(), smem, bytes); };
  copy->write = [=] {
    block().traffic->global(reinterpret_cast<uint64_t>(global), bytes, Access::kStore);
    race::write(global, bytes), std::memcpy(global, data->data(), bytes);
  };
  copies().add(std::move(copy), copies().bulk);
}

// Brings nothing to a thread, so that it may be asked for while a kernel in front still writes there.
void bulk_prefetch(const void *global, uint32_t bytes) {
  race::Ignore ignore;
  constexpr const char *kWhat = "cp.async.bulk.prefetch";
  check_multiples(global, bytes, kWhat);
  if (race::poisoned(global, bytes)) fail("%s: %u bytes at %p are not all allocated", kWhat, bytes, global);
}

void bulk_commit() { ++copies().bulk[&self()].open; }
void bulk_wait(int pending, bool read_only) {
  race::Ignore ignore;
  copies().wait(copies().bulk, false, pending, read_only, "cp.async.bulk.wait_group");
}

}  // namespace opswap::emu
