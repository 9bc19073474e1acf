// mbarrier: a 64-bit word in shared memory, here
// [63:56] mark, [55] parity of the phase, [54:32] bytes still to come + 2^22, [31:16] arrivals of a phase, [15:0]
// pending.
#include <cstdio>

#include "block.h"
#include "mbarrier.h"

namespace opswap::emu {
namespace {

constexpr uint64_t kMark = 0xb5;
constexpr int64_t kBytesBias = 1 << 22, kMaxBytes = (1 << 20) - 1;
constexpr uint32_t kMaxArrivals = (1 << 20) - 1, kWordArrivals = 0xffff;

struct State {
  uint32_t pending, arrivals;
  int64_t bytes;
  uint32_t parity;
};

State decode(uint64_t word) {
  return {uint32_t(word & 0xffff), uint32_t(word >> 16 & 0xffff), int64_t(word >> 32 & 0x7fffff) - kBytesBias,
          uint32_t(word >> 55 & 1)};
}

State load(uint64_t *barrier, const char *what) {
  check_smem(barrier, sizeof *barrier, what);
  if (reinterpret_cast<uintptr_t>(barrier) % 8) fail("%s: the barrier is not aligned to 8 bytes", what);
  if (*barrier >> 56 != kMark) fail("%s: the mbarrier at byte %u is not initialised", what, smem_address(barrier));
  return decode(*barrier);
}

void store(uint64_t *barrier, State s) {
  const bool complete = !s.pending && !s.bytes;
  if (complete) {
    s.parity ^= 1;
    s.pending = s.arrivals;
  }
  *barrier = kMark << 56 | uint64_t(s.parity) << 55 | uint64_t(s.bytes + kBytesBias) << 32 |
             uint64_t(s.arrivals) << 16 | s.pending;
  if (!complete) return;
  block().fruitless = 0;
  wake(block().asked_too_early);
  if (auto waiting = block().mbarrier_waiting.find(barrier); waiting != block().mbarrier_waiting.end())
    wake(waiting->second);
}

void add_bytes(State &s, uint64_t *barrier, int64_t bytes, const char *what) {
  s.bytes += bytes;
  if (s.bytes > kMaxBytes || s.bytes < -kMaxBytes)
    fail("%s: %lld bytes outstanding at the mbarrier at byte %u, at most %lld", what, static_cast<long long>(s.bytes),
         smem_address(barrier), static_cast<long long>(kMaxBytes));
}

// To the race check an initialisation writes the barrier and a use reads it: a barrier of threads must be between them.
void touch(uint64_t *barrier, bool writes, const void *site) {
  [[maybe_unused]] const race::Asked asked(site);
  writes ? race::write(barrier, sizeof *barrier) : race::read(barrier, sizeof *barrier);
}

}  // namespace

void mbarrier_init(uint64_t *barrier, uint32_t arrivals) {
  race::write(barrier, sizeof *barrier);
  touch(barrier, true, __builtin_return_address(0));
  race::Ignore ignore;
  check_smem(barrier, sizeof *barrier, "mbarrier.init");
  if (reinterpret_cast<uintptr_t>(barrier) % 8) fail("mbarrier.init: the barrier is not aligned to 8 bytes");
  if (!arrivals || arrivals > kWordArrivals)
    fail("mbarrier.init: %u arrivals, needs 1 to %u (the emulator's limit; PTX allows %u)", arrivals, kWordArrivals,
         kMaxArrivals);
  if (*barrier >> 56 == kMark) fail("mbarrier.init: the mbarrier at byte %u is in use", smem_address(barrier));
  *barrier = 0;
  *barrier = kMark << 56 | uint64_t(kBytesBias) << 32 | uint64_t(arrivals) << 16 | arrivals;
}

void mbarrier_inval(uint64_t *barrier) {
  touch(barrier, true, __builtin_return_address(0));
  race::Ignore ignore;
  load(barrier, "mbarrier.inval");
  std::memset(barrier, kPoison, sizeof *barrier);
}

namespace {

// What peers did before they arrived is known by another name: only a wait of cluster scope takes it over.
void *of_the_cluster(uint64_t *barrier) { return reinterpret_cast<char *>(barrier) + 2; }

void arrive(uint64_t *barrier, uint32_t arrivals, uint32_t expected_bytes, void *known_by) {
  State s = load(barrier, "mbarrier.arrive");
  if (s.pending < arrivals)
    fail("mbarrier.arrive: more arrivals than its %u in one phase, at the mbarrier at byte %u", s.arrivals,
         smem_address(barrier));
  add_bytes(s, barrier, expected_bytes, "mbarrier.arrive.expect_tx");
  s.pending -= arrivals;
  release(known_by);
  store(barrier, s);
}

}  // namespace

void mbarrier_arrive(uint64_t *barrier, uint32_t arrivals, uint32_t expected_bytes) {
  touch(barrier, false, __builtin_return_address(0));
  race::Ignore ignore;
  arrive(barrier, arrivals, expected_bytes, barrier);
}

void mbarrier_arrive_cluster(uint64_t *barrier, uint32_t expected_bytes) {
  arrive(barrier, 1, expected_bytes, of_the_cluster(barrier));
}

bool cluster_mbarrier_test(uint64_t *barrier, uint32_t parity) {
  if (!mbarrier_test(barrier, parity)) return false;
  race::Ignore ignore;
  acquire(of_the_cluster(barrier));
  return true;
}

void mbarrier_expect(uint64_t *barrier, uint32_t bytes) {
  touch(barrier, false, __builtin_return_address(0));
  race::Ignore ignore;
  State s = load(barrier, "mbarrier.expect_tx");
  add_bytes(s, barrier, bytes, "mbarrier.expect_tx");
  store(barrier, s);
}

void mbarrier_complete(uint64_t *barrier, uint32_t bytes) {
  State s = load(barrier, "complete_tx");
  add_bytes(s, barrier, -int64_t(bytes), "complete_tx");
  store(barrier, s);
}

void mbarrier_check(uint64_t *barrier) { load(barrier, "cp.async.bulk"); }

void mbarrier_arrive_async(uint64_t *barrier) {
  State s = load(barrier, "cp.async.mbarrier.arrive");
  if (!s.pending) fail("cp.async.mbarrier.arrive: more arrivals than its %u in one phase", s.arrivals);
  --s.pending;
  store(barrier, s);
}

bool mbarrier_test(uint64_t *barrier, uint32_t parity) {
  touch(barrier, false, __builtin_return_address(0));
  race::Ignore ignore;
  if (load(barrier, "mbarrier.test_wait").parity == (parity & 1)) {  // whoever asks in a loop leaves others a turn
    park(block().asked_too_early, {"mbarrier.test_wait parity", barrier, parity & 1});
    return false;
  }
  acquire(barrier);
  acquire_dependency(block().waited);
  return true;
}

static void wait(uint64_t *barrier, uint32_t parity, const void *site) {
  note_access(site, barrier, sizeof *barrier, Access::kWait);
  while (load(barrier, "mbarrier.try_wait").parity == (parity & 1))
    park(block().mbarrier_waiting[barrier], {"mbarrier.try_wait parity", barrier, parity & 1});
  acquire(barrier);
  acquire_dependency(block().waited);
}

void mbarrier_wait(uint64_t *barrier, uint32_t parity) {
  touch(barrier, false, __builtin_return_address(0));
  race::Ignore ignore;
  wait(barrier, parity, __builtin_return_address(0));
}

void cluster_mbarrier_wait(uint64_t *barrier, uint32_t parity) {
  touch(barrier, false, __builtin_return_address(0));
  race::Ignore ignore;
  wait(barrier, parity, __builtin_return_address(0));
  acquire(of_the_cluster(barrier));
}

std::string mbarrier_state(const void *barrier) {
  const State s = decode(*static_cast<const uint64_t *>(barrier));
  char text[160];
  std::snprintf(text, sizeof text, "the mbarrier at byte %u (%u of %u arrivals and %lld bytes to come)",
                smem_address(barrier), s.pending, s.arrivals, static_cast<long long>(s.bytes));
  return text;
}

}  // namespace opswap::emu
