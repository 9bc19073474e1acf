// The slot over the CUDA runtime: asynchronous copies, fills and events; without CUDA and on the emulator it is never
// free. Run on played runtimes alone so far (test/static, test/native/suite/device_shadow).
#include "device_slot.h"

#include <algorithm>

#include "poller.h"

#if defined(OPSWAP_WITH_CUDA) && !defined(OPSWAP_EMULATE)
#include "cuda_calls.h"
#endif

namespace opswap {

#if defined(OPSWAP_WITH_CUDA) && !defined(OPSWAP_EMULATE)

// Ops that copy between host and device may work on streams of their own, whose end nobody here knows.
bool has_copies(const OpSpec &op, const Bound &bound) {
  return bound.base().device_type == kDLCUDA &&
         std::none_of(op.args, op.args + op.nargs, [](const ArgSpec &a) { return a.host; });
}

namespace {

cudaEvent_t event_of(void *handle) { return static_cast<cudaEvent_t>(handle); }

}  // namespace

std::optional<LeftOut> DeviceSlot::take(int32_t device, void *stream, size_t device_bytes, size_t pinned_bytes) {
  const uint64_t needs = uint64_t(device_bytes) + pinned_bytes;
  if (needs > most_) return LeftOut::memory;
  {
    const AsksFreely asks;
    if (is_captured(static_cast<cudaStream_t>(stream))) return LeftOut::capture;
  }
  if (stopped_) return LeftOut::device;
  if (busy_.test_and_set()) return LeftOut::busy;
  const bool fits = device == device_ && device_bytes <= device_size_ && pinned_bytes <= pinned_size_;
  if (fits) {
    stream_ = stream;
    well_ = true;
    return std::nullopt;
  }
  if (needs >= refused_) return busy_.clear(), LeftOut::memory;
  grow(device, device_bytes, pinned_bytes);
  return LeftOut::busy;
}

void DeviceSlot::grow(int32_t device, size_t device_bytes, size_t pinned_bytes) try {
  const auto make = [self = shared_from_this(), device, device_bytes, pinned_bytes] {
    const AsksFreely asks;
    self->allocate(device, device_bytes, pinned_bytes);
    self->release();
    return true;
  };
  if (!poll_soon(make)) busy_.clear();
} catch (const std::bad_alloc &) {
  busy_.clear();
}

// On the other thread, whose device is nobody else's: to bring an earlier one back would start that one.
void DeviceSlot::allocate(int32_t device, size_t device_bytes, size_t pinned_bytes) {
  const bool same = device == device_;
  const size_t on_device = std::max(device_bytes, same ? device_size_ : 0);
  const size_t pinned = std::max(pinned_bytes, same ? pinned_size_ : 0);
  const bool both = on_device + pinned <= most_;  // what an earlier call needed is kept where it has room
  free_memory();
  if (!went_well(cudaSetDevice(device))) return;
  device_ = device;
  device_size_ = both ? on_device : device_bytes;
  pinned_size_ = both ? pinned : pinned_bytes;
  void *device_memory = nullptr, *pinned_memory = nullptr;
  const bool well = (!device_size_ || went_well(cudaMalloc(&device_memory, device_size_))) &&
                    went_well(cudaHostAlloc(&pinned_memory, pinned_size_, cudaHostAllocPortable)) && make_events();
  device_memory_ = static_cast<char *>(device_memory);
  pinned_memory_ = static_cast<char *>(pinned_memory);
  if (well) return;
  free_memory();
  refused_ = std::min(refused_, uint64_t(device_bytes) + pinned_bytes);
}

bool DeviceSlot::make_events() {
  return std::all_of(std::begin(events_), std::end(events_), [](void *&handle) {
    cudaEvent_t event = nullptr;
    if (!went_well(cudaEventCreate(&event))) return false;
    handle = event;
    return true;
  });
}

void DeviceSlot::copy(void *to, const void *from, size_t bytes) {
  if (bytes && !went_well(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream_))))
    well_ = false;
}

void DeviceSlot::set(void *to, unsigned char value, size_t bytes) {
  if (bytes && !went_well(cudaMemsetAsync(to, value, bytes, static_cast<cudaStream_t>(stream_)))) well_ = false;
}

void DeviceSlot::mark(int i) {
  if (!went_well(cudaEventRecord(event_of(events_[i]), static_cast<cudaStream_t>(stream_)))) well_ = false;
}

// Without an event for the end nobody can say when the memory may be used again: then it is never taken again.
void DeviceSlot::finish(std::function<void(bool)> then) try {
  if (!went_well(cudaEventRecord(event_of(events_[kMarks]), static_cast<cudaStream_t>(stream_)))) {
    stopped_ = true;
    if (then) then = [then = std::move(then)](bool) { then(false); };
  }
  poll_soon([self = shared_from_this(), then = std::move(then)] { return self->look(then); });
} catch (const std::bad_alloc &) {
  stopped_ = true;
}

// On the other thread.
bool DeviceSlot::look(const std::function<void(bool)> &then) {
  const AsksFreely asks;
  went_well(cudaSetDevice(device_));
  const cudaError_t end = cudaEventQuery(event_of(events_[kMarks]));
  if (!went_well(end) && end == cudaErrorNotReady) return false;
  if (end) stopped_ = true;  // the device has failed; every call says so
  try {
    if (then) then(well_ && !end);
  } catch (const std::bad_alloc &) {  // one sample is lost
  }
  release();
  return true;
}

double DeviceSlot::between(int from, int to) {
  float ms = 0;
  return went_well(cudaEventElapsedTime(&ms, event_of(events_[from]), event_of(events_[to]))) ? double(ms) * 1e6 : 0;
}

// cudaFree waits for the device, so what still uses the memory has ended by then.
void DeviceSlot::free_memory() {
  if (device_ < 0) return;
  const AsksFreely asks;
  went_well(cudaSetDevice(device_));
  if (device_memory_) went_well(cudaFree(device_memory_));
  if (pinned_memory_) went_well(cudaFreeHost(pinned_memory_));
  for (void *&event : events_) {
    if (event) went_well(cudaEventDestroy(event_of(event)));
    event = nullptr;
  }
  device_memory_ = pinned_memory_ = nullptr;
  device_size_ = pinned_size_ = 0;
  device_ = -1;
}

// On the other thread. Who stops it meanwhile finds it held, so it is looked at again.
void DeviceSlot::release() {
  busy_.clear();
  if (stopped_ && !busy_.test_and_set()) free_memory();
}

void DeviceSlot::stop() try {
  if (stopped_.exchange(true) || busy_.test_and_set()) return;
  poll_soon([self = shared_from_this()] { return self->free_memory(), true; });
} catch (const std::bad_alloc &) {
  busy_.clear();  // the memory stays, rather than be freed on a thread whose current device that would change
}

#else

bool has_copies(const OpSpec &, const Bound &) { return false; }
std::optional<LeftOut> DeviceSlot::take(int32_t, void *, size_t, size_t) { return LeftOut::device; }
void DeviceSlot::copy(void *, const void *, size_t) {}
void DeviceSlot::set(void *, unsigned char, size_t) {}
void DeviceSlot::mark(int) {}
void DeviceSlot::finish(std::function<void(bool)>) {}
double DeviceSlot::between(int, int) { return 0; }
void DeviceSlot::stop() {}

#endif

}  // namespace opswap
