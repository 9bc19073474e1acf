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
      choice_(op, {config.salt, config.share_of_calls, config.first_of_bucket, config.most_of_bucket}) {}

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

void Recording::see(const Bound &bound) noexcept {
  BucketCount *bucket = running() ? choice_.choose(bound) : nullptr;
  if (!bucket) return;
  if (bound.base().device_type != kDLCPU) return choice_.leave_out(LeftOut::device);
  try {
    record(bound, *bucket);
  } catch (const std::bad_alloc &) {  // the call goes on without its recording
    choice_.leave_out(LeftOut::memory);
  }
}

void Recording::record(const Bound &bound, BucketCount &bucket) {
  const CutCall call(*op_.spec, bound.given, CutCall::Of::all);
  if (!has_room(call)) return;
  bucket.chosen.fetch_add(1, std::memory_order_relaxed);
  hand_over(bound, call, bucket);
}

void Recording::hand_over(const Bound &bound, const CutCall &call, const BucketCount &bucket) {
  const Place place = place_of(op_);
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
