// Shadow runs of an op: the records of what control and candidate made of chosen live calls.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "call_choice.h"
#include "device_shadow.h"
#include "shadow_sample.h"

namespace opswap {

class Shadow : public std::enable_shared_from_this<Shadow> {
 public:
  Shadow(Op &op, Impl *control, Impl *candidate, const opswap_shadow &config);

  // What is known of a chosen call between `before` and `after`.
  struct Chosen {
    BucketCount *bucket = nullptr;  // nullptr: not chosen
    bool on_device = false;
    std::optional<ShadowSample> sample;  // of a call on the CPU, with what the live call will overwrite
  };

  // Before a live call. Who is given a chosen one calls `after`.
  void before(const Bound &bound, void *stream, Chosen &chosen) noexcept;

  // Behind it: runs both arms, if the live call went well. `live` is what ran it. On a device they are only given to
  // the stream, and another thread stores the record when they have run.
  void after(opswap_status status, Chosen &chosen, const Impl *live) noexcept;

  // A call that is under way is finished; the memory goes back with it, or now.
  void stop();
  bool running() const { return running_.load(std::memory_order_relaxed); }
  // Copies records of `stride` bytes; returns how many.
  uint64_t read(uint64_t after, char *out, uint64_t stride, uint64_t room) const;
  std::string status() const;

 private:
  BucketCount *choose(const Bound &bound);
  void before_on_host(const Bound &bound, BucketCount *bucket, Chosen &chosen);
  void before_on_device(const Bound &bound, void *stream, BucketCount *bucket, Chosen &chosen);
  bool time_is_left() const;
  char *memory_for(const ShadowSample &sample);
  void release_memory();
  bool keep(const Bound &bound, std::optional<ShadowSample> &sample);
  void after_on_host(opswap_status status, Chosen &chosen, const Impl *live);
  void after_on_device(opswap_status status, const Chosen &chosen, const Impl *live);
  void take_device_sample(const DeviceSample &sample);
  void finish(ShadowSample &sample, BucketCount &bucket, const Impl *live);
  void store(const opswap_shadow_record &record, const std::string &candidate_error);

  const Op &op_;
  Impl *const control_, *const candidate_;
  const uint64_t salt_, most_memory_;
  const double share_of_time_;
  const uint64_t began_, steps_before_;
  CallChoice choice_;
  const std::shared_ptr<DeviceShadow> device_;
  std::atomic<bool> running_{true};
  std::atomic_flag busy_;  // held from `before` to `after` by the call on the CPU whose copies are in memory_
  std::unique_ptr<char[]> memory_;
  size_t memory_size_ = 0;
  std::atomic<uint64_t> took_{0};
  mutable std::mutex records_mutex_;
  std::vector<opswap_shadow_record> records_;  // a ring
  uint64_t stored_ = 0;
  std::string ended_by_;  // why it ended by itself
};

}  // namespace opswap
