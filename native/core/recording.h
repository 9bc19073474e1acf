// Recordings of an op: the arguments of chosen live calls, written to files.
#pragma once

#include <memory>
#include <string>

#include "call_choice.h"
#include "cut_call.h"
#include "device_slot.h"
#include "file_writer.h"
#include "held_call.h"

namespace opswap {

// A call with more to copy is left out: the copy is made on the calling thread, which waits for it.
constexpr uint64_t kMostBytesOfCall = 64 << 20;

class Recording : public std::enable_shared_from_this<Recording> {
 public:
  Recording(const Op &op, const opswap_recording &config, std::shared_ptr<const Folder> folder);

  // Before a live call.
  void see(const Bound &bound, void *stream) noexcept;

  void stop();
  bool running() const { return running_.load(std::memory_order_relaxed); }
  std::string status() const;

 private:
  bool has_room(const CutCall &call);
  void record(const Bound &bound, BucketCount &bucket);
  void record_on_device(const Bound &bound, void *stream, BucketCount &bucket);
  void take_held(const HeldCall &held, const BucketCount &bucket, const Place &place);
  void hand_over(const Bound &bound, const CutCall &call, const BucketCount &bucket, const Place &place);
  void written(uint64_t bytes, int error);
  std::string name_of(const BucketCount &bucket, const Place &place, int64_t time_ns) const;

  const Op &op_;
  const std::string path_;
  const std::shared_ptr<const Folder> folder_;
  const uint64_t most_bytes_, most_memory_;
  CallChoice choice_;
  const std::shared_ptr<DeviceSlot> slot_;  // for copies from a device
  std::atomic<bool> running_{true};
  std::atomic<uint64_t> files_{0}, bytes_{0}, waiting_{0};
  mutable std::mutex mutex_;
  std::string ended_by_;
};

}  // namespace opswap
