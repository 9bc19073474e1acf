// The trace's ring, written by calls and read by opswap_trace_read, and the context (rank, step, epoch) of each
// thread's calls.
#include "trace.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>

#include "clock.h"

namespace opswap {
std::atomic<bool> trace_on{false};

namespace {

// A slot has the record of sequence s when `stamp` is 2 s before and after reading; odd while it is written. Fields are
// stored with release and loaded with acquire: a reader that sees a field of a later writer then sees its odd stamp as
// well, on CPUs too that reorder stores. One writer at a time: who finds a slot taken, because all others have gone
// round the ring since, or finds a later record, leaves his out.
struct Slot {
  bool claim(uint64_t sequence) {
    uint64_t is = stamp.load(std::memory_order_relaxed);
    return !(is & 1) && is < 2 * sequence &&
           stamp.compare_exchange_strong(is, 2 * sequence - 1, std::memory_order_acquire, std::memory_order_relaxed);
  }

  std::atomic<uint64_t> stamp{0};
  std::atomic<int64_t> time{0}, step{0}, epoch{0}, duration{0};
  std::atomic<uint64_t> bucket{0};
  std::atomic<int32_t> rank{0}, arm{0}, layer{0};
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

opswap_trace_record record_of(const Slot &slot, uint64_t sequence, uint32_t size) {
  constexpr auto acquire = std::memory_order_acquire;
  opswap_trace_record record{};
  record.struct_size = size;
  record.rank = slot.rank.load(acquire);
  record.sequence = sequence;
  record.time_ns = slot.time.load(acquire);
  record.step = slot.step.load(acquire);
  record.epoch = slot.epoch.load(acquire);
  record.bucket = slot.bucket.load(acquire);
  record.duration_ns = slot.duration.load(acquire);
  record.layer = slot.layer.load(acquire);
  record.arm = slot.arm.load(acquire);
  record.op = slot.op.load(acquire);
  record.impl = slot.impl.load(acquire);
  return record;
}

std::atomic<uint64_t> step_began{0}, usual_step{0}, all_steps{0};

// Adds the step that has ended: only where it was followed at once is its time known.
void end_step() {
  const uint64_t now = ticks_now(), began = step_began.exchange(now), usual = usual_step.load();
  if (!began) return;
  const uint64_t took = usual ? std::min(now - began, 8 * usual) : now - began;
  const bool paused = usual && now - began > 8 * usual;
  all_steps.fetch_add(paused ? usual : took);
  usual_step = usual ? (7 * usual + took) / 8 : took;
}

int32_t call_of_step(const Op &op) {
  const uint64_t before = op.calls_before_step.load(std::memory_order_relaxed), calls = calls_of(op);
  return calls > before ? int32_t(calls - before - 1) : 0;  // counters may have been reset within the step
}

// Every op's calls so far become those before the step that begins.
void begin_step() {
  end_step();
  for (int32_t i = 0; i < op_count(); ++i)
    op_at(i).calls_before_step.store(calls_of(op_at(i)), std::memory_order_relaxed);
}

}  // namespace

uint64_t step_ticks() { return all_steps.load(std::memory_order_relaxed); }

void trace_store(const Op &op, const Impl &impl, uint64_t bucket, Arm arm, int64_t duration_ns) {
  Ring *r = ring.load(std::memory_order_acquire);
  if (!r) return;
  constexpr auto relaxed = std::memory_order_relaxed, release = std::memory_order_release;
  const uint64_t s = next_sequence.fetch_add(1, relaxed);
  Slot &slot = r->slots[s & r->mask];
  if (!slot.claim(s)) return;
  slot.time.store(unix_ns(), release);
  slot.step.store(context_step.load(relaxed), release);
  slot.epoch.store(context_epoch.load(relaxed), release);
  slot.rank.store(context_rank.load(relaxed), release);
  slot.bucket.store(bucket, release);
  slot.duration.store(duration_ns, release);
  slot.arm.store(int32_t(arm), release);
  slot.layer.store(call_of_step(op), release);
  slot.op.store(op.index, release);
  slot.impl.store(impl_index(op, &impl), release);
  slot.stamp.store(2 * s, release);
}

Place place_of_process() { return {context_rank.load(), 0, context_step.load(), context_epoch.load()}; }

Place place_of(const Op &op) {
  Place place = place_of_process();
  place.layer = call_of_step(op);
  return place;
}

}  // namespace opswap

using namespace opswap;

extern "C" {

opswap_status opswap_set_context(int32_t rank, int64_t step, int64_t epoch) {
  context_rank.store(rank, std::memory_order_relaxed);
  if (context_step.exchange(step, std::memory_order_relaxed) != step) begin_step();
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
  const uint64_t room = *count, stride = room ? out->struct_size : 0;
  *count = 0;
  if (!room) return OPSWAP_OK;
  if (stride < sizeof *out)
    return fail(OPSWAP_E_ABI, "opswap_trace_read: struct_size of the first record is %llu, this build needs %zu",
                static_cast<unsigned long long>(stride), sizeof *out);
  std::lock_guard lock(ring_mutex);
  const Ring *r = ring.load(std::memory_order_acquire);
  if (!r) return OPSWAP_OK;
  const uint64_t end = next_sequence.load(std::memory_order_acquire), kept = r->mask + 1;
  char *to = reinterpret_cast<char *>(out);
  for (uint64_t s = std::max(after + 1, end > kept ? end - kept : 0); s < end && *count < room; ++s) {
    const Slot &slot = r->slots[s & r->mask];
    if (slot.stamp.load(std::memory_order_acquire) != 2 * s) continue;
    const opswap_trace_record record = record_of(slot, s, sizeof record);
    if (slot.stamp.load(std::memory_order_relaxed) == 2 * s)
      std::memcpy(to + stride * (*count)++, &record, sizeof record);
  }
  return OPSWAP_OK;
}
}
