// Copies a chosen call's arguments and hands them to the writer, within bounds of bytes and of memory.
#include "recording.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "clock.h"
#include "json.h"
#include "recorded_call.h"
#include "shape_bucket.h"

namespace opswap {

Recording::Recording(const Op &op, const opswap_recording &config, std::shared_ptr<const Folder> folder)
    : op_(op),
      path_(config.folder),
      folder_(std::move(folder)),
      most_bytes_(config.most_bytes),
      most_memory_(config.memory),
      choice_(op, {config.salt, config.share_of_calls, config.first_of_bucket, config.most_of_bucket}),
      slot_(std::make_shared<DeviceSlot>(config.memory)) {}

// Its bytes are spoken for from now on, until the file is written or has failed.
bool Recording::has_room(const CutCall &call) {
  const uint64_t bytes = recorded_bytes(*op_.spec, call);
  if (bytes > kMostBytesOfCall) {
    choice_.leave_out(LeftOut::size);
    return false;
  }
  if (waiting_.load() + bytes > most_memory_ || bytes_.load() + waiting_.load() + bytes > most_bytes_) {
    choice_.leave_out(LeftOut::memory);
    return false;
  }
  return true;
}

std::string Recording::name_of(const BucketCount &bucket, const Place &place, int64_t time_ns) const {
  std::string name = std::string(op_.spec->name) + "-" + bucket_name(*op_.spec, bucket.key);
  std::replace(name.begin(), name.end(), ' ', '-');
  return name + "-" + std::to_string(time_ns) + "-rank" + std::to_string(place.rank) + "-" +
         std::to_string(bucket.chosen.load()) + ".safetensors";
}

void Recording::see(const Bound &bound, void *stream) noexcept {
  BucketCount *bucket = running() ? choice_.choose(bound) : nullptr;
  if (!bucket) return;
  try {
    if (bound.base().device_type == kDLCPU)
      record(bound, *bucket);
    else
      record_on_device(bound, stream, *bucket);
  } catch (const std::bad_alloc &) {  // the call goes on without its recording
    choice_.leave_out(LeftOut::memory);
  }
}

void Recording::record(const Bound &bound, BucketCount &bucket) {
  const CutCall call(*op_.spec, bound.given, CutCall::Of::all);
  if (!has_room(call)) return;
  bucket.chosen.fetch_add(1, std::memory_order_relaxed);
  hand_over(bound, call, bucket, place_of(op_));
}

// What an index on a device names is known when it has been copied, so all of a cache is copied with it.
void Recording::record_on_device(const Bound &bound, void *stream, BucketCount &bucket) {
  if (!has_copies(*op_.spec, bound)) return choice_.leave_out(LeftOut::device);
  const size_t bytes = HeldCall::bytes(*op_.spec, bound.given);
  if (bytes > kMostBytesOfCall) return choice_.leave_out(LeftOut::size);
  if (const auto left_out = slot_->take(bound.base().device_id, stream, 0, bytes)) return choice_.leave_out(*left_out);
  std::function<void(bool)> then;
  try {
    const auto held = std::make_shared<HeldCall>(*op_.spec, bound.given, slot_->pinned_memory(), *slot_);
    then = [self = shared_from_this(), held, &bucket, place = place_of(op_)](bool well) {
      if (well) return self->take_held(*held, bucket, place);
      self->choice_.leave_out(LeftOut::device);
    };
    bucket.chosen.fetch_add(1, std::memory_order_relaxed);
  } catch (const std::bad_alloc &) {
    choice_.leave_out(LeftOut::memory);
  }
  slot_->finish(std::move(then));
}

// On another thread: from here on it is a call on the CPU, whose caches can be cut.
void Recording::take_held(const HeldCall &held, const BucketCount &bucket, const Place &place) try {
  Bound bound;
  if (bind(op_, held.args(), op_.spec->nargs, bound)) return choice_.leave_out(LeftOut::device);
  const CutCall call(*op_.spec, bound.given, CutCall::Of::all);
  if (has_room(call)) hand_over(bound, call, bucket, place);
} catch (const std::bad_alloc &) {
  choice_.leave_out(LeftOut::memory);
}

void Recording::stop() {
  running_ = false;
  slot_->stop();
}

void Recording::hand_over(const Bound &bound, const CutCall &call, const BucketCount &bucket, const Place &place) {
  const int64_t now = unix_ns();
  std::string file = recorded_call(op_, bound, call, place, now);
  const uint64_t size = file.size();
  FileToWrite to_write{folder_, name_of(bucket, place, now), std::move(file),
                       [self = shared_from_this(), size](int error) { self->written(size, error); }};
  waiting_.fetch_add(size);
  write_file_soon(std::move(to_write));
}

void Recording::written(uint64_t size, int error) {
  if (!error) {
    files_.fetch_add(1);
    bytes_.fetch_add(size);
  }
  waiting_.fetch_sub(size);
  if (!error) return;
  std::lock_guard lock(mutex_);
  ended_by_ = "a file cannot be written into " + path_ + ": " + std::strerror(error);
  stop();
}

std::string Recording::status() const {
  std::lock_guard lock(mutex_);
  return "{\"op\":" + quoted(op_.spec->name) + ",\"folder\":" + quoted(path_.c_str()) +
         ",\"running\":" + (running() ? "true" : "false") + ",\"ended_by\":" + quoted(ended_by_.c_str()) +
         ",\"files\":" + std::to_string(files_.load()) + ",\"bytes\":" + std::to_string(bytes_.load()) +
         ",\"waiting_bytes\":" + std::to_string(waiting_.load()) + "," + choice_.json() + "}";
}

}  // namespace opswap
