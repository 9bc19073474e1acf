// The choice of calls, and its counters as JSON.
#include "call_choice.h"

#include <utility>

#include "json.h"
#include "shape_bucket.h"

namespace opswap {

uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ x >> 27) * 0x94D049BB133111EBull;
  return x ^ x >> 31;
}

uint64_t hash_of(const Place &place, const Op &op, uint64_t salt) {
  const uint64_t where = uint64_t(uint16_t(op.index)) << 32 | uint32_t(place.layer);
  return mix(mix(mix(salt) + uint64_t(place.step)) + where);
}

bool CallChoice::hash_says(const BucketCount &bucket) const {
  if (bucket.chosen.load(std::memory_order_relaxed) < rule_.first_of_bucket) return true;
  return double(hash_of(place_of(op_), op_, rule_.salt) >> 11) * 0x1p-53 < rule_.share_of_calls;
}

BucketCount *CallChoice::choose(const Bound &bound) {
  seen_.fetch_add(1, std::memory_order_relaxed);
  BucketCount *bucket = buckets_.at(op_.spec->bucket(bound.args));
  if (!bucket) {
    leave_out(LeftOut::buckets);
    return nullptr;
  }
  bucket->seen.fetch_add(1, std::memory_order_relaxed);
  if (!hash_says(*bucket)) return nullptr;
  if (bucket->chosen.load(std::memory_order_relaxed) < rule_.most_of_bucket) return bucket;
  leave_out(LeftOut::quota);
  return nullptr;
}

std::string CallChoice::json() const {
  static constexpr const char *reasons[] = {
#define X(name) #name,
      OPSWAP_LEFT_OUT(X)
#undef X
  };
  std::string json =
      "\"salt\":" + std::to_string(rule_.salt) + ",\"seen\":" + std::to_string(seen_.load()) + ",\"left_out\":{";
  for (int i = 0; i < int(LeftOut::count); ++i)
    json += std::string(i ? "," : "") + quoted(reasons[i]) + ":" + std::to_string(left_out_[i].load());
  json += "},\"buckets\":[";
  bool first = true;
  buckets_.each([&](const BucketCount &bucket) {
    json += std::exchange(first, false) ? "{\"bucket\":" : ",{\"bucket\":";
    json += quoted(bucket_name(*op_.spec, bucket.key).c_str()) + ",\"seen\":" + std::to_string(bucket.seen.load()) +
            ",\"chosen\":" + std::to_string(bucket.chosen.load()) + "}";
  });
  return json + "]";
}

}  // namespace opswap
