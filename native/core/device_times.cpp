// A few pairs of CUDA events, each with one call at a time; nothing without CUDA and on the emulator.
#include "device_times.h"

#include "device.h"
#include "times.h"

#if defined(OPSWAP_WITH_CUDA) && !defined(OPSWAP_EMULATE)
#include "cuda_calls.h"
#endif

namespace opswap {

#if defined(OPSWAP_WITH_CUDA) && !defined(OPSWAP_EMULATE)

// Who moves the state from `free` or `under_way` on has the pair to itself until it moves it back.
struct Pair {
  enum State : int32_t { free, held, under_way };
  std::atomic<int32_t> state{free};
  int32_t device = -1;  // -1: the events are not made yet
  cudaEvent_t begin = nullptr, end = nullptr;
  Impl *impl = nullptr;
  uint64_t bucket = 0;

  bool take(State from) {
    int32_t expected = from;
    return state.load(std::memory_order_relaxed) == from &&
           state.compare_exchange_strong(expected, held, std::memory_order_acquire);
  }
  void give(State to) { state.store(to, std::memory_order_release); }
};

namespace {

constexpr int kPairs = 64;
constexpr int kReadByCall = 4;  // pairs that one sampled call looks at, so that none takes long

// Never destroyed: at the end of a process the driver may be gone before static objects are.
Pair (&pairs)[kPairs] = *reinterpret_cast<Pair (*)[kPairs]>(new Pair[kPairs]);
std::atomic<uint32_t> next_to_read{0};

bool has_events(Pair &pair, int32_t device) {
  if (pair.device >= 0) return pair.device == device;
  const DeviceScope scope(device);
  if (scope.status() || !went_well(cudaEventCreate(&pair.begin))) return false;
  if (!went_well(cudaEventCreate(&pair.end))) return went_well(cudaEventDestroy(pair.begin)), false;
  pair.device = device;
  return true;
}

Pair *free_pair(int32_t device) {
  for (Pair &pair : pairs) {
    if (!pair.take(Pair::free)) continue;
    if (has_events(pair, device)) return &pair;
    pair.give(Pair::free);
  }
  return nullptr;
}

// Adds its time, unless the device has not come to its end yet.
void read(Pair &pair) {
  if (!pair.take(Pair::under_way)) return;
  if (!went_well(cudaEventQuery(pair.end))) return pair.give(Pair::under_way);
  float ms = 0;
  if (went_well(cudaEventElapsedTime(&ms, pair.begin, pair.end)))
    pair.impl->stats.buckets.add(pair.bucket, ns_to_ticks(double(ms) * 1e6), ticks_now());
  pair.give(Pair::free);
}

}  // namespace

DeviceTime::DeviceTime(const Bound &bound, const opswap_exec &exec) : stream_(exec.stream) {
  if (bound.base().device_type != kDLCUDA) return;
  const auto stream = static_cast<cudaStream_t>(stream_);
  const AsksFreely asks;
  if (is_captured(stream)) return;
  const uint32_t from = next_to_read.fetch_add(kReadByCall, std::memory_order_relaxed);
  for (uint32_t i = 0; i < kReadByCall; ++i) read(pairs[(from + i) % kPairs]);
  pair_ = free_pair(bound.base().device_id);
  if (!pair_ || went_well(cudaEventRecord(pair_->begin, stream))) return;
  pair_->give(Pair::free);
  pair_ = nullptr;
}

DeviceTime::~DeviceTime() {
  if (pair_) pair_->give(Pair::free);
}

void DeviceTime::counted(Impl &impl, uint64_t bucket) {
  if (!pair_ || !went_well(cudaEventRecord(pair_->end, static_cast<cudaStream_t>(stream_)))) return;
  pair_->impl = &impl;
  pair_->bucket = bucket;
  pair_->give(Pair::under_way);
  pair_ = nullptr;
}

void read_device_times() {
  bool any = false;
  for (const Pair &pair : pairs) any |= pair.state.load(std::memory_order_relaxed) == Pair::under_way;
  if (!any) return;  // so that a process without device calls never asks the driver anything
  const AsksFreely asks;
  for (Pair &pair : pairs) read(pair);
}

#else

DeviceTime::DeviceTime(const Bound &, const opswap_exec &) {}
DeviceTime::~DeviceTime() = default;
void DeviceTime::counted(Impl &, uint64_t) {}
void read_device_times() {}

#endif

}  // namespace opswap
