// Shadows of an op that writes into a cache: the arms get the blocks that the call touches and no more, and a candidate
// that writes beside its slot or between blocks is found.
#include <algorithm>

#include "harness.h"

namespace {

enum class Fault { none, beside, between };

// Four tokens for a cache of 64 blocks of 4 slots: slots of blocks 3, 40 and 41, and one that is skipped. Keys and
// values are the halves of each block of one buffer, so there are bytes between the blocks of either.
constexpr int64_t kBlocks = 64, kSlots = 4, kWidth = 64, kTokens = 5, kHalf = kSlots * kWidth;
constexpr int64_t kIndex[kTokens] = {41 * kSlots + 1, 3 * kSlots, -1, 40 * kSlots + 3, 3 * kSlots + 2};
constexpr int64_t kRenumbered[kTokens] = {2 * kSlots + 1, 0, -1, kSlots + 3, 2};

struct CacheCall {
  std::vector<float> buffer;
  int64_t shape[4] = {kBlocks, 1, kSlots, kWidth}, strides[4] = {2 * kHalf, kHalf, kWidth, 1};
  Floats key{{kTokens, 1, kWidth}}, value{{kTokens, 1, kWidth}};
  int64_t slots[kTokens], tokens[1] = {kTokens}, one[1] = {1};
  DLTensor caches[2], index{slots, {kDLCPU, 0}, 1, {0, 64, 1}, tokens, one, 0};
  opswap_arg args[5];
  Fault fault = Fault::none;
  int calls = 0;

  CacheCall() : buffer(size_t(kBlocks * 2 * kHalf)) {
    for (size_t i = 0; i < buffer.size(); ++i) buffer[i] = float(i % 8191);
    for (size_t i = 0; i < key.data.size(); ++i) key.data[i] = -float(i), value.data[i] = -0.5f - float(i);
    std::copy_n(kIndex, kTokens, slots);
    for (int i = 0; i < 2; ++i) caches[i] = {buffer.data() + i * kHalf, {kDLCPU, 0}, 4, {2, 32, 1}, shape, strides, 0};
    const DLTensor *all[] = {&key.dl, &value.dl, &caches[0], &caches[1], &index};
    for (int i = 0; i < 5; ++i) args[i] = {OPSWAP_TENSOR, 0, {.tensor = all[i]}};
  }
};

// Where the renumbered call has a slot, and what the live cache has there.
float *slot_of(const DLTensor &cache, int64_t slot) {
  return static_cast<float *>(cache.data) + slot / kSlots * cache.strides[0] + slot % kSlots * cache.strides[2];
}

opswap_status candidate(void *ctx, const opswap_arg *args, int32_t, const opswap_exec *) {
  CacheCall &self = *static_cast<CacheCall *>(ctx);
  ++self.calls;
  const int64_t *index = static_cast<const int64_t *>(args[4].v.tensor->data);
  CHECK(std::equal(index, index + kTokens, kRenumbered));
  for (int part = 0; part < 2; ++part) {
    const DLTensor &cache = *args[2 + part].v.tensor;
    CHECK_EQ(cache.shape[0], 3);
    CHECK(cache.strides[0] > kHalf && cache.strides[0] < 2 * kHalf);  // still apart, as the live blocks are
    CHECK(cache.data < self.buffer.data() || cache.data >= self.buffer.data() + self.buffer.size());
    CHECK_EQ(*slot_of(cache, kSlots + 1), *slot_of(self.caches[part], 40 * kSlots + 1));  // a neighbour in its block
    for (int64_t t = 0; t < kTokens; ++t)
      if (index[t] >= 0)
        std::copy_n(static_cast<const float *>(args[part].v.tensor->data) + t * kWidth, kWidth,
                    slot_of(cache, index[t]));
  }
  const DLTensor &keys = *args[2].v.tensor;
  if (self.fault == Fault::beside) *slot_of(keys, kSlots + 2) = 1e6f;
  if (self.fault == Fault::between) static_cast<float *>(keys.data)[kHalf] = 1e6f;
  return 0;
}

opswap_shadow_record shadowed(CacheCall &call) {
  opswap_shadow config{};
  config.struct_size = sizeof config;
  config.control = "ref";
  config.candidate = "candidate";
  config.share_of_calls = config.share_of_time = 1;
  config.most_of_bucket = 10;
  config.memory = 32 << 10;  // the cache has 256 KiB
  const opswap_external external{sizeof external, -1, candidate, &call, nullptr, nullptr};
  if (!call.calls) CHECK_EQ(opswap_register("reshape_and_cache", "candidate", &external), 0);
  CHECK_EQ(opswap_shadow_start("reshape_and_cache", &config), 0);
  CHECK_EQ(opswap_call("reshape_and_cache", call.args, 5, nullptr), 0);
  CHECK_EQ(opswap_shadow_stop("reshape_and_cache"), 0);
  opswap_shadow_record record{};
  record.struct_size = sizeof record;
  uint64_t count = 1;
  CHECK_EQ(opswap_shadow_read("reshape_and_cache", 0, &record, &count), 0);
  CHECK_EQ(count, 1u);
  return record;
}

}  // namespace

TEST(shadow_cut) {
  CacheCall call;
  const opswap_shadow_record right = shadowed(call);
  CHECK(call.calls > 0);
  CHECK_EQ(right.candidate_status, 0);
  CHECK_EQ(right.candidate_overran, 0);
  CHECK_EQ(right.elements, uint64_t(2 * 3 * kHalf));
  CHECK_EQ(right.differing, 0u);
  call.fault = Fault::beside;
  CHECK_EQ(shadowed(call).outside, 1u);
  call.fault = Fault::between;
  CHECK_EQ(shadowed(call).candidate_overran, 1);
  // The live call has written its four slots of either cache, and nothing else has written any.
  for (int64_t slot = 0; slot < kBlocks * kSlots; ++slot) {
    const int64_t token = std::find(kIndex, kIndex + kTokens, slot) - kIndex;
    for (int part = 0; part < 2; ++part)
      for (int64_t i = 0; i < kWidth; ++i) {
        const float *at = slot_of(call.caches[part], slot) + i;
        const float old = float((at - call.buffer.data()) % 8191), written = -float(token * kWidth + i) - 0.5f * part;
        CHECK_EQ(*at, token < kTokens ? written : old);
      }
  }
}
