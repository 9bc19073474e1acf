// Device memory and pinned host memory for one call at a time, filled and copied on that call's stream. The thread of
// the call neither waits nor allocates: another one makes the memory, and looks when the device has come to the end.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "bound.h"
#include "call_choice.h"
#include "copies.h"

namespace opswap {

// Whether calls like this one can be copied from at all: on a device that this build copies from, all tensors on it.
bool has_copies(const OpSpec &op, const Bound &bound);

class DeviceSlot final : public Copies, public std::enable_shared_from_this<DeviceSlot> {
 public:
  static constexpr int kMarks = 8;

  // Device and pinned memory together take at most `most` bytes.
  explicit DeviceSlot(uint64_t most) : most_(most) {}

  // Takes it for a call on this stream of this device, or says why not: one is under way, the stream is captured, the
  // memory is too little. The first call, and each that needs more, finds it busy, while another thread makes memory.
  std::optional<LeftOut> take(int32_t device, void *stream, size_t device_bytes, size_t pinned_bytes);

  // Of who has taken it, from here to `finish`.
  char *device_memory() const { return device_memory_; }
  char *pinned_memory() const { return pinned_memory_; }
  void copy(void *to, const void *from, size_t bytes) override;
  void set(void *to, unsigned char value, size_t bytes) override;
  void mark(int i);  // an event

  // Everything has been given to the stream. Once the device has come to its end, `then` is called on another thread
  // with whether all went well; then the slot is free again.
  void finish(std::function<void(bool)> then);

  // In `then`: nanoseconds on the device between two marks.
  double between(int from, int to);

  // Gives the memory back, as soon as no call is under way; nothing else does.
  void stop();

 private:
  void grow(int32_t device, size_t device_bytes, size_t pinned_bytes);
  void allocate(int32_t device, size_t device_bytes, size_t pinned_bytes);
  bool make_events();
  bool look(const std::function<void(bool)> &then);
  void free_memory();
  void release();

  const uint64_t most_;
  std::atomic<bool> stopped_{false};
  std::atomic_flag busy_;  // held by who has taken it, then by the other thread
  // Of who holds it:
  int32_t device_ = -1;
  void *stream_ = nullptr;
  char *device_memory_ = nullptr, *pinned_memory_ = nullptr;
  size_t device_size_ = 0, pinned_size_ = 0;
  uint64_t refused_ = UINT64_MAX;  // so many bytes were not to be had
  bool well_ = true;
  void *events_[kMarks + 1] = {};  // the last is the end
};

}  // namespace opswap
