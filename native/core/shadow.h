// Shadow runs of an op: the records of what control and candidate made of chosen live calls.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "call_choice.h"
#include "shadow_sample.h"

namespace opswap {

class Shadow {
 public:
  Shadow(Op &op, Impl *control, Impl *candidate, const opswap_shadow &config);

  // Before a live call: its bucket, and `sample` with what the live call will overwrite, or nullptr where the call is
  // not chosen. Who is given a bucket calls `after`.
  BucketCount *before(const Bound &bound, std::optional<ShadowSample> &sample) noexcept;

  // Behind it: runs both arms, if the live call went well. `live` is what ran it.
  void after(opswap_status status, BucketCount &bucket, ShadowSample &sample, const Impl *live) noexcept;

  // A call that is under way is finished; the memory goes back with it, or now.
  void stop();
  bool running() const { return running_.load(std::memory_order_relaxed); }
  // Copies records of `stride` bytes; returns how many.
  uint64_t read(uint64_t after, char *out, uint64_t stride, uint64_t room) const;
  std::string status() const;

 private:
  BucketCount *choose(const Bound &bound);
  bool time_is_left() const;
  char *memory_for(const ShadowSample &sample);
  void release_memory();
  bool keep(const Bound &bound, std::optional<ShadowSample> &sample);
  void finish(ShadowSample &sample, BucketCount &bucket, const Impl *live);
  void store(const opswap_shadow_record &record, const std::string &candidate_error);

  const Op &op_;
  Impl *const control_, *const candidate_;
  const uint64_t salt_, most_memory_;
  const double share_of_time_;
  const uint64_t began_, steps_before_;
  CallChoice choice_;
  std::atomic<bool> running_{true};
  std::atomic_flag busy_;  // held from `before` to `after` by the call whose copies are in memory_
  std::unique_ptr<char[]> memory_;
  size_t memory_size_ = 0;
  std::atomic<uint64_t> took_{0};
  mutable std::mutex records_mutex_;
  std::vector<opswap_shadow_record> records_;  // a ring
  uint64_t stored_ = 0;
  std::string ended_by_;  // why it ended by itself
};

}  // namespace opswap
