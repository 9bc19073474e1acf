// Chooses calls of an op: by a hash that is the same on all ranks, with every shape bucket covered and bounded.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "bound.h"
#include "places.h"
#include "trace.h"

namespace opswap {

struct ChoiceRule {
  uint64_t salt;
  double share_of_calls;
  uint64_t first_of_bucket;  // so many are chosen before the share counts
  uint64_t most_of_bucket;
};

// How often a bucket's calls were seen and chosen.
struct BucketCount {
  explicit BucketCount(uint64_t bucket) : key(bucket) {}
  uint64_t key;
  std::atomic<uint64_t> seen{0}, chosen{0};
};

// Why a call that the hash had chosen was left out.
#define OPSWAP_LEFT_OUT(X) X(quota) X(time) X(memory) X(size) X(device) X(capture) X(busy) X(buckets)
enum class LeftOut : int32_t {
#define X(name) name,
  OPSWAP_LEFT_OUT(X)
#undef X
      count
};

// splitmix64's finisher.
uint64_t mix(uint64_t x);

// Of the salt and the place of a call.
uint64_t hash_of(const Place &place, const Op &op, uint64_t salt);

class CallChoice {
 public:
  CallChoice(const Op &op, const ChoiceRule &rule) : op_(op), rule_(rule) {}

  // The bucket of this call, or nullptr where it is not chosen.
  BucketCount *choose(const Bound &bound);
  void leave_out(LeftOut why) { left_out_[int(why)].fetch_add(1, std::memory_order_relaxed); }

  // "salt":N,"seen":N,"left_out":{...},"buckets":[...]
  std::string json() const;

 private:
  bool hash_says(const BucketCount &bucket) const;

  const Op &op_;
  const ChoiceRule rule_;
  std::atomic<uint64_t> seen_{0};
  std::atomic<uint64_t> left_out_[int(LeftOut::count)] = {};
  Places<BucketCount, 256> buckets_;
};

}  // namespace opswap
