// Lets the copy unit's copies read and write when their time comes, and says which are unfinished when their block
// ends.
#include "copy_unit.h"

#include <cstring>

#include "mbarrier.h"

namespace opswap::emu {

const char *CopyUnit::unfinished() {
  for (const auto &copy : copies) {
    block().blamed = copy->asked;
    for (const Block *to : copy->into)
      if (!to->live) return "a load into its shared memory still on its way";
    if (copy->read && !copy->read_done) return "a store still reading its shared memory (missing tma_wait_read)";
  }
  std::erase_if(copies, [](const auto &copy) {
    if (copy->into.empty()) copy->write();
    return copy->into.empty();
  });
  return nullptr;
}

void CopyUnit::work() {
  const size_t i = block().draw() % copies.size();
  Copy &copy = *copies[i];
  block().blamed = copy.asked;
  context.enter();
  race::acquire(proxy_of(&copy));
  const bool reads = copy.read && !copy.read_done;
  if (!reads && !copy.into.empty()) race::acquire(&copy);
  if (const race::Asked asked(copy.asked); reads)
    copy.read();
  else
    copy.write();
  copy.read_done = true;
  if (!reads) copies.erase(copies.begin() + long(i));
  race::release(this);
  race::enter(block().context);
  wake(waiting);
}

void CopyUnit::add(std::unique_ptr<Copy> copy, std::map<Thread *, Groups> &groups) {
  copy->thread = &self(), copy->group = groups[&self()].open;
  ++block().counters->copies;
  release(copy.get());  // a load overwrites what threads have read: it comes after that also without a proxy fence
  copies.push_back(std::move(copy));
}

bool CopyUnit::pending(bool is_cp_async, uint64_t last, bool read_only) const {
  for (const auto &copy : copies)
    if (copy->thread == &self() && copy->is_cp_async == is_cp_async && copy->group <= last &&
        (is_cp_async || copy->into.empty()) && !(read_only && copy->read_done))
      return true;
  return false;
}

void CopyUnit::wait(std::map<Thread *, Groups> &groups, bool is_cp_async, int left, bool read_only, const char *what) {
  const uint64_t open = groups[&self()].open;
  if (open <= uint64_t(left)) return;
  while (pending(is_cp_async, open - 1 - uint64_t(left), read_only)) park(waiting, {what, nullptr, uint32_t(left)});
  race::acquire(this);
}

CopyUnit &copies() { return unit<CopyUnit>(kLateCopies); }

void move(void *to, const void *from, size_t bytes) {
  race::read(from, bytes);
  race::write(to, bytes);
  std::memcpy(to, from, bytes);
}

std::vector<Target> targets_of(uint32_t blocks, uint64_t *barrier, const char *what) {
  std::vector<Target> targets;
  if (!blocks) fail("%s: multicast to no block", what);
  for (uint32_t rank = 0; rank < 32; ++rank) {
    if (!(blocks >> rank & 1)) continue;
    Block &to = peer(rank, what);
    targets.push_back({&to, to.smem - block().smem});
    const OnPeer at(to);
    mbarrier_check(targets.back()(barrier));
  }
  return targets;
}

std::vector<const Block *> blocks_of(const std::vector<Target> &targets) {
  std::vector<const Block *> blocks;
  for (const Target &target : targets) blocks.push_back(target.block);
  return blocks;
}

void must_live(const Block &to) {
  if (!to.live) fail("a load into shared memory of block %u of the cluster, which has ended", to.rank);
}

void check_destination(const void *smem, size_t bytes, size_t alignment, const char *what) {
  check_smem(smem, bytes, what);
  if (smem_address(smem) % alignment)
    fail("%s: byte %u of shared memory is not a multiple of %zu", what, smem_address(smem), alignment);
}

void check_global(const void *global, uint32_t bytes, Access kind, const char *what) {
  if (bytes && race::poisoned(global, bytes)) fail("%s: %u bytes at %p are not all allocated", what, bytes, global);
  if (bytes && self().early) check_in_front(global, bytes, kind);
}

void complete(const Target &to, uint64_t *of_issuer, uint32_t bytes) {
  uint64_t *barrier = to(of_issuer);
  const OnPeer at(*to.block);
  race::release(barrier);
  race::release(proxy_of(barrier));
  mbarrier_complete(barrier, bytes);
}

}  // namespace opswap::emu
