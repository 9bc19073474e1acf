// Shadow runs of an op: which live calls are chosen, and the records of what control and candidate made of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "places.h"
#include "shadow_sample.h"

namespace opswap {

// How often a bucket's calls were seen and chosen.
struct BucketCount {
  explicit BucketCount(uint64_t bucket) : key(bucket) {}
  uint64_t key;
  std::atomic<uint64_t> seen{0}, chosen{0};
};

// Why a call that the share had chosen was left out.
#define OPSWAP_LEFT_OUT(X) X(quota) X(time) X(memory) X(device) X(busy) X(buckets)
enum class LeftOut : int32_t {
#define X(name) name,
  OPSWAP_LEFT_OUT(X)
#undef X
      count
};

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
  bool hash_says(const BucketCount &bucket) const;
  bool time_is_left() const;
  char *memory_for(const Bound &bound);
  void leave_out(LeftOut why) { left_out_[int(why)].fetch_add(1, std::memory_order_relaxed); }
  void finish(ShadowSample &sample, const Bound &bound, BucketCount &bucket);
  void store(const opswap_shadow_record &record);

  Op &op_;
  Impl *const control_, *const candidate_;
  const opswap_shadow config_;
  const uint64_t began_, steps_before_;
  std::atomic<bool> running_{true};
  std::atomic_flag busy_;  // held by the call whose copies are in memory_
  std::vector<char> memory_;
  std::atomic<uint64_t> took_{0}, calls_{0};
  std::atomic<uint64_t> left_out_[int(LeftOut::count)] = {};
  Places<BucketCount, 256> buckets_;
  mutable std::mutex records_mutex_;
  std::vector<opswap_shadow_record> records_;  // a ring
  uint64_t stored_ = 0;
  std::string ended_by_;  // why it ended by itself
};

// Runs `live` under the op's shadow, if it still has one.
opswap_status run_shadowed(Op &op, const Bound &bound, const std::function<opswap_status()> &live);

}  // namespace opswap
