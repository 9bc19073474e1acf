// Shadow runs of an op: the records of what control and candidate made of chosen live calls.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "call_choice.h"
#include "shadow_sample.h"

namespace opswap {

class Shadow {
 public:
  Shadow(Op &op, Impl *control, Impl *candidate, const opswap_shadow &config);

  // Runs a live call, and both arms behind it where the call is chosen. Returns what the live call returns.
  opswap_status around(const Bound &bound, const std::function<opswap_status()> &live);

  void stop() { running_ = false; }
  bool running() const { return running_.load(std::memory_order_relaxed); }
  // Copies records of `stride` bytes; returns how many.
  uint64_t read(uint64_t after, char *out, uint64_t stride, uint64_t room) const;
  std::string status() const;

 private:
  BucketCount *choose(const Bound &bound);
  bool time_is_left() const;
  char *memory_for(const Bound &bound);
  void finish(ShadowSample &sample, const Bound &bound, BucketCount &bucket);
  void store(const opswap_shadow_record &record);

  const Op &op_;
  Impl *const control_, *const candidate_;
  const uint64_t salt_, most_memory_;
  const double share_of_time_;
  const uint64_t began_, steps_before_;
  CallChoice choice_;
  std::atomic<bool> running_{true};
  std::atomic_flag busy_;  // held by the call whose copies are in memory_
  std::unique_ptr<char[]> memory_;
  size_t memory_size_ = 0;
  std::atomic<uint64_t> took_{0};
  mutable std::mutex records_mutex_;
  std::vector<opswap_shadow_record> records_;  // a ring
  uint64_t stored_ = 0;
  std::string ended_by_;  // why it ended by itself
};

}  // namespace opswap
