// Chooses live calls by a hash that all ranks share, within quotas and a share of the time, and keeps the records.
#include "shadow.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <new>
#include <utility>

#include "clock.h"
#include "json.h"
#include "trace.h"

namespace opswap {
namespace {

constexpr uint64_t kRecords = 4096, kFloorEvery = 8;
constexpr size_t kAlignment = 64;

#ifdef OPSWAP_EMULATE
constexpr bool kReadsDeviceMemory = true;
#else
constexpr bool kReadsDeviceMemory = false;
#endif

void set_place(opswap_shadow_record &record, const Place &place, uint64_t bucket) {
  record.rank = place.rank;
  record.step = place.step;
  record.epoch = place.epoch;
  record.layer = place.layer;
  record.bucket = bucket;
}

}  // namespace

Shadow::Shadow(Op &op, Impl *control, Impl *candidate, const opswap_shadow &config)
    : op_(op),
      control_(control),
      candidate_(candidate),
      salt_(config.salt),
      most_memory_(config.memory),
      share_of_time_(config.share_of_time),
      began_(ticks_now()),
      steps_before_(step_ticks()),
      choice_(op, {config.salt, config.share_of_calls, config.first_of_bucket, config.most_of_bucket}),
      device_(std::make_shared<DeviceShadow>(op, control, candidate, config.memory)) {}

// Without steps, in a process that is no engine, the share is of all time.
bool Shadow::time_is_left() const {
  if (share_of_time_ == 1) return true;
  const uint64_t steps = step_ticks() - steps_before_, time = steps ? steps : ticks_now() - began_;
  return double(took_.load(std::memory_order_relaxed)) <= share_of_time_ * double(time);
}

// The bucket of a call that is to be shadowed, or nullptr.
BucketCount *Shadow::choose(const Bound &bound) {
  BucketCount *bucket = choice_.choose(bound);
  if (!bucket) return nullptr;
  if (time_is_left()) return bucket;
  choice_.leave_out(LeftOut::time);
  return nullptr;
}

// Aligned room for the copies of one call, or nullptr; the caller holds busy_.
char *Shadow::memory_for(const ShadowSample &sample) {
  const size_t needs = sample.bytes() + kAlignment;
  if (needs > most_memory_) return nullptr;
  if (needs > memory_size_) {
    release_memory();  // never both at a time
    memory_.reset(new (std::nothrow) char[needs]);
    if (!memory_) return nullptr;
    memory_size_ = needs;
  }
  const uintptr_t at = reinterpret_cast<uintptr_t>(memory_.get());
  return memory_.get() + (kAlignment - at % kAlignment) % kAlignment;
}

void Shadow::stop() {
  running_ = false;
  device_->stop();
  if (busy_.test_and_set(std::memory_order_acquire)) return;
  release_memory();
  busy_.clear(std::memory_order_release);
}

void Shadow::release_memory() {
  memory_.reset();
  memory_size_ = 0;
}

void Shadow::before(const Bound &bound, void *stream, Chosen &chosen) noexcept {
  BucketCount *bucket = running() ? choose(bound) : nullptr;
  if (!bucket) return;
  const uint64_t began = ticks_now();
  if (bound.base().device_type == kDLCPU || kReadsDeviceMemory)
    before_on_host(bound, bucket, chosen);
  else
    before_on_device(bound, stream, bucket, chosen);
  if (chosen.bucket) took_.fetch_add(ticks_now() - began, std::memory_order_relaxed);
}

void Shadow::before_on_host(const Bound &bound, BucketCount *bucket, Chosen &chosen) {
  if (busy_.test_and_set(std::memory_order_acquire)) return choice_.leave_out(LeftOut::busy);
  if (keep(bound, chosen.sample)) {
    chosen.bucket = bucket;
    return;
  }
  choice_.leave_out(LeftOut::memory);
  busy_.clear(std::memory_order_release);
}

void Shadow::before_on_device(const Bound &bound, void *stream, BucketCount *bucket, Chosen &chosen) {
  if (const auto left_out = device_->before(bound, stream)) return choice_.leave_out(*left_out);
  chosen.bucket = bucket;
  chosen.on_device = true;
}

// Whether there is memory for it; the caller holds busy_.
bool Shadow::keep(const Bound &bound, std::optional<ShadowSample> &sample) try {
  char *memory = memory_for(sample.emplace(op_, control_, candidate_, bound));
  if (memory) sample->keep(memory);
  return memory;
} catch (const std::bad_alloc &) {
  return false;
}

void Shadow::after(opswap_status status, Chosen &chosen, const Impl *live) noexcept {
  const uint64_t began = ticks_now();
  if (chosen.on_device)
    after_on_device(status, chosen, live);
  else
    after_on_host(status, chosen, live);
  took_.fetch_add(ticks_now() - began, std::memory_order_relaxed);
}

void Shadow::after_on_host(opswap_status status, Chosen &chosen, const Impl *live) {
  try {
    if (!status) finish(*chosen.sample, *chosen.bucket, live);
  } catch (const std::bad_alloc &) {  // the live call is done; only this sample is lost
    choice_.leave_out(LeftOut::memory);
  }
  if (!running()) release_memory();
  busy_.clear(std::memory_order_release);
}

void Shadow::after_on_device(opswap_status status, const Chosen &chosen, const Impl *live) try {
  if (status) return device_->give_up();
  DeviceShadow::Done done = [self = shared_from_this()](const DeviceSample &s) { self->take_device_sample(s); };
  const Place place = place_of(op_);
  const uint64_t before = chosen.bucket->chosen.fetch_add(1, std::memory_order_relaxed);
  opswap_shadow_record record{};
  record.struct_size = sizeof record;
  set_place(record, place, chosen.bucket->key);
  device_->after(record, {live, mix(hash_of(place, op_, salt_)), before % kFloorEvery == 0}, std::move(done));
} catch (const std::bad_alloc &) {
  choice_.leave_out(LeftOut::memory);
  device_->give_up();
}

// On another thread.
void Shadow::take_device_sample(const DeviceSample &sample) {
  if (!sample.well) return choice_.leave_out(LeftOut::device);
  took_.fetch_add(ns_to_ticks(sample.took_ns), std::memory_order_relaxed);
  opswap_shadow_record record = sample.record;
  record.time_ns = unix_ns();
  store(record, sample.candidate_error);
}

void Shadow::finish(ShadowSample &sample, BucketCount &bucket, const Impl *live) {
  const Place place = place_of(op_);
  const uint64_t before = bucket.chosen.fetch_add(1, std::memory_order_relaxed);
  sample.run(live, mix(hash_of(place, op_, salt_)), before % kFloorEvery == 0);
  opswap_shadow_record record = sample.record();
  record.time_ns = unix_ns();
  set_place(record, place, bucket.key);
  store(record, sample.candidate_error());
  if (!traced()) return;
  trace_store(op_, *control_, bucket.key, Arm::control, record.control_ns);
  trace_store(op_, *candidate_, bucket.key, Arm::candidate, record.candidate_ns);
}

// A candidate that fails where control does not, writes elsewhere or makes a number infinite or NaN is not run again.
void Shadow::store(const opswap_shadow_record &record, const std::string &candidate_error) {
  std::lock_guard lock(records_mutex_);
  if (records_.size() < kRecords) records_.emplace_back();
  opswap_shadow_record &kept = records_[stored_ % kRecords];
  kept = record;
  kept.sequence = ++stored_;
  if (record.candidate_overran)
    ended_by_ = "the candidate wrote outside its outputs";
  else if (record.candidate_status && !record.control_status)
    ended_by_ = "the candidate failed: " + candidate_error;
  else if (record.became_nonfinite)
    ended_by_ = "the candidate's values are not finite where control's are";
  if (!ended_by_.empty()) stop();
}

uint64_t Shadow::read(uint64_t after, char *out, uint64_t stride, uint64_t room) const {
  std::lock_guard lock(records_mutex_);
  uint64_t copied = 0, s = std::max(after, stored_ > kRecords ? stored_ - kRecords : 0);
  for (; s < stored_ && copied < room; ++s)
    std::memcpy(out + stride * copied++, &records_[s % kRecords], sizeof records_[0]);
  return copied;
}

std::string Shadow::status() const {
  std::lock_guard lock(records_mutex_);
  return "{\"op\":" + quoted(op_.spec->name) + ",\"control\":" + quoted(control_->name) +
         ",\"candidate\":" + quoted(candidate_->name) + ",\"running\":" + (running() ? "true" : "false") +
         ",\"ended_by\":" + quoted(ended_by_.c_str()) + ",\"recorded\":" + std::to_string(stored_) +
         ",\"took_ns\":" + std::to_string(int64_t(ticks_to_ns(took_.load()))) + "," + choice_.json() + "}";
}

}  // namespace opswap
