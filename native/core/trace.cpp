// The trace's ring, written by calls and read by opswap_trace_read, and the context (rank, step, epoch) of each
// thread's calls.
#include "trace.h"

#include <bit>
#include <memory>
#include <mutex>
#include <new>

namespace opswap {
std::atomic<bool> trace_on{false};

namespace {

// A slot is valid for sequence s when `stamp` is s before and after reading; 0 while it is written.
struct Slot {
  std::atomic<uint64_t> stamp{0};
  std::atomic<int64_t> step{0}, epoch{0};
  std::atomic<int32_t> rank{0};
  std::atomic<int16_t> op{0}, impl{0};
};

struct Ring {
  explicit Ring(uint64_t capacity) : mask(capacity - 1), slots(new Slot[capacity]) {}
  uint64_t mask;
  std::unique_ptr<Slot[]> slots;
};

constexpr uint64_t kMaxCapacity = 1u << 24;

std::mutex ring_mutex;              // start, stop and read; never the calls
std::atomic<Ring *> ring{nullptr};  // replaced rings are kept: a call may still be writing into one
std::atomic<uint64_t> next_sequence{1};
std::atomic<int32_t> context_rank{0};
std::atomic<int64_t> context_step{0}, context_epoch{0};

}  // namespace

void trace_store(const Op &op, const Impl &impl) {
  Ring *r = ring.load(std::memory_order_acquire);
  if (!r) return;
  const uint64_t s = next_sequence.fetch_add(1, std::memory_order_relaxed);
  Slot &slot = r->slots[s & r->mask];
  slot.stamp.store(0, std::memory_order_release);
  slot.step.store(context_step.load(std::memory_order_relaxed), std::memory_order_relaxed);
  slot.epoch.store(context_epoch.load(std::memory_order_relaxed), std::memory_order_relaxed);
  slot.rank.store(context_rank.load(std::memory_order_relaxed), std::memory_order_relaxed);
  slot.op.store(op.index, std::memory_order_relaxed);
  slot.impl.store(impl_index(op, &impl), std::memory_order_relaxed);
  slot.stamp.store(s, std::memory_order_release);
}

void get_context(int32_t &rank, int64_t &step, int64_t &epoch) {
  rank = context_rank.load();
  step = context_step.load();
  epoch = context_epoch.load();
}

}  // namespace opswap

using namespace opswap;

extern "C" {

opswap_status opswap_set_context(int32_t rank, int64_t step, int64_t epoch) {
  context_rank.store(rank, std::memory_order_relaxed);
  context_step.store(step, std::memory_order_relaxed);
  context_epoch.store(epoch, std::memory_order_relaxed);
  return OPSWAP_OK;
}

opswap_status opswap_trace_start(uint64_t capacity) {
  if (capacity > kMaxCapacity)
    return fail(OPSWAP_E_ARGUMENT, "opswap_trace_start: capacity is %llu, needs at most %llu",
                static_cast<unsigned long long>(capacity), static_cast<unsigned long long>(kMaxCapacity));
  std::lock_guard lock(ring_mutex);
  if (!capacity) {
    trace_on = false;
    return OPSWAP_OK;
  }
  Ring *current = ring.load();
  const uint64_t rounded = std::bit_ceil(capacity);
  if (!current || current->mask + 1 != rounded) ring.store(new Ring(rounded), std::memory_order_release);
  trace_on = true;
  return OPSWAP_OK;
}

opswap_status opswap_trace_read(uint64_t after, opswap_trace_record *out, uint64_t *count) {
  if (!out || !count) return fail(OPSWAP_E_NULL, "opswap_trace_read: out or count is null");
  std::lock_guard lock(ring_mutex);
  Ring *r = ring.load(std::memory_order_acquire);
  const uint64_t room = *count, end = next_sequence.load(std::memory_order_acquire);
  *count = 0;
  if (!r) return OPSWAP_OK;
  uint64_t s = after + 1;
  if (end > r->mask + 1 && s < end - (r->mask + 1)) s = end - (r->mask + 1);
  for (; s < end && *count < room; ++s) {
    Slot &slot = r->slots[s & r->mask];
    if (slot.stamp.load(std::memory_order_acquire) != s) continue;
    opswap_trace_record record{s,
                               slot.step.load(std::memory_order_relaxed),
                               slot.epoch.load(std::memory_order_relaxed),
                               slot.rank.load(std::memory_order_relaxed),
                               slot.op.load(std::memory_order_relaxed),
                               slot.impl.load(std::memory_order_relaxed)};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (slot.stamp.load(std::memory_order_relaxed) == s) out[(*count)++] = record;
  }
  return OPSWAP_OK;
}
}
