// Chooses live calls by a hash that all ranks share, within quotas and a share of the time, and keeps the records.
#include "shadow.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <utility>

#include "clock.h"
#include "json.h"
#include "shape_bucket.h"
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

uint64_t mix(uint64_t x) {  // splitmix64's finisher
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ x >> 27) * 0x94D049BB133111EBull;
  return x ^ x >> 31;
}

uint64_t hash_of(const Place &place, const Op &op, uint64_t salt) {
  const uint64_t where = uint64_t(uint16_t(op.index)) << 32 | uint32_t(place.layer);
  return mix(mix(mix(salt) + uint64_t(place.step)) + where);
}

}  // namespace

Shadow::Shadow(Op &op, Impl *control, Impl *candidate, const opswap_shadow &config)
    : op_(op),
      control_(control),
      candidate_(candidate),
      config_(config),
      began_(ticks_now()),
      steps_before_(step_ticks()) {}

// Without steps, in a process that is no engine, the share is of all time.
bool Shadow::time_is_left() const {
  if (config_.share_of_time == 1) return true;
  const uint64_t steps = step_ticks() - steps_before_, time = steps ? steps : ticks_now() - began_;
  return double(took_.load(std::memory_order_relaxed)) <= config_.share_of_time * double(time);
}

bool Shadow::hash_says(const BucketCount &bucket) const {
  if (bucket.chosen.load(std::memory_order_relaxed) < config_.first_of_bucket) return true;
  return double(hash_of(place_of(op_), op_, config_.salt) >> 11) * 0x1p-53 < config_.share_of_calls;
}

// The bucket of a call that is to be shadowed, or nullptr.
BucketCount *Shadow::choose(const Bound &bound) {
  calls_.fetch_add(1, std::memory_order_relaxed);
  const auto without = [&](LeftOut why) {
    leave_out(why);
    return nullptr;
  };
  BucketCount *bucket = buckets_.at(op_.spec->bucket(bound.args));
  if (!bucket) return without(LeftOut::buckets);
  bucket->seen.fetch_add(1, std::memory_order_relaxed);
  if (!hash_says(*bucket)) return nullptr;
  if (bucket->chosen.load(std::memory_order_relaxed) >= config_.most_of_bucket) return without(LeftOut::quota);
  if (bound.base().device_type != kDLCPU && !kReadsDeviceMemory) return without(LeftOut::device);
  return time_is_left() ? bucket : without(LeftOut::time);
}

// Aligned room for the copies of one call, or nullptr; the caller holds busy_.
char *Shadow::memory_for(const Bound &bound) {
  const size_t needs = ShadowSample::bytes(*op_.spec, bound.given) + kAlignment;
  if (needs > config_.memory) return nullptr;
  if (needs > memory_.size()) memory_ = std::vector<char>(needs);
  const uintptr_t at = reinterpret_cast<uintptr_t>(memory_.data());
  return memory_.data() + (kAlignment - at % kAlignment) % kAlignment;
}

opswap_status Shadow::around(const Bound &bound, const std::function<opswap_status()> &live) {
  BucketCount *bucket = running() ? choose(bound) : nullptr;
  if (!bucket) return live();
  if (busy_.test_and_set(std::memory_order_acquire)) {
    leave_out(LeftOut::busy);
    return live();
  }
  const struct Free {
    std::atomic_flag &flag;
    ~Free() { flag.clear(std::memory_order_release); }
  } free{busy_};
  const uint64_t began = ticks_now();
  char *memory = memory_for(bound);
  if (!memory) {
    leave_out(LeftOut::memory);
    return live();
  }
  ShadowSample sample(op_, control_, candidate_, memory);
  sample.keep(bound);
  const uint64_t before_live = ticks_now();
  const opswap_status status = live();
  const uint64_t after_live = ticks_now();
  if (!status) finish(sample, bound, *bucket);
  took_.fetch_add(before_live - began + ticks_now() - after_live, std::memory_order_relaxed);
  return status;
}

void Shadow::finish(ShadowSample &sample, const Bound &bound, BucketCount &bucket) {
  const Place place = place_of(op_);
  const uint64_t before = bucket.chosen.fetch_add(1, std::memory_order_relaxed);
  sample.run(bound, mix(hash_of(place, op_, config_.salt)), before % kFloorEvery == 0);
  opswap_shadow_record record = sample.record();
  record.time_ns = unix_ns();
  record.rank = place.rank;
  record.step = place.step;
  record.epoch = place.epoch;
  record.layer = place.layer;
  record.bucket = bucket.key;
  store(record);
}

// A candidate that fails, writes elsewhere or makes a number infinite or NaN is not run again.
void Shadow::store(const opswap_shadow_record &record) {
  std::lock_guard lock(records_mutex_);
  if (records_.size() < kRecords) records_.emplace_back();
  opswap_shadow_record &kept = records_[stored_ % kRecords];
  kept = record;
  kept.sequence = ++stored_;
  if (record.candidate_status)
    ended_by_ = "the candidate failed: " + std::string(opswap_last_error());
  else if (record.candidate_overran)
    ended_by_ = "the candidate wrote outside its outputs";
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
  std::string json = "{\"op\":" + quoted(op_.spec->name) + ",\"control\":" + quoted(control_->name) +
                     ",\"candidate\":" + quoted(candidate_->name) + ",\"running\":" + (running() ? "true" : "false") +
                     ",\"ended_by\":" + quoted(ended_by_.c_str()) + ",\"seen\":" + std::to_string(calls_.load()) +
                     ",\"recorded\":" + std::to_string(stored_) +
                     ",\"took_ns\":" + std::to_string(int64_t(ticks_to_ns(took_.load()))) + ",\"left_out\":{";
  static constexpr const char *reasons[] = {
#define X(name) #name,
      OPSWAP_LEFT_OUT(X)
#undef X
  };
  for (int i = 0; i < int(LeftOut::count); ++i)
    json += std::string(i ? "," : "") + quoted(reasons[i]) + ":" + std::to_string(left_out_[i].load());
  json += "},\"buckets\":[";
  bool first = true;
  buckets_.each([&](const BucketCount &bucket) {
    json += (std::exchange(first, false) ? "{\"bucket\":" : ",{\"bucket\":") +
            quoted(bucket_name(*op_.spec, bucket.key).c_str()) + ",\"seen\":" + std::to_string(bucket.seen.load()) +
            ",\"chosen\":" + std::to_string(bucket.chosen.load()) + "}";
  });
  return json + "]}";
}

opswap_status run_shadowed(Op &op, const Bound &bound, const std::function<opswap_status()> &live) {
  std::shared_ptr<Shadow> shadow;
  {
    std::lock_guard lock(op.shadow_mutex);
    shadow = op.shadow;
  }
  return shadow ? shadow->around(bound, live) : live();
}

}  // namespace opswap
