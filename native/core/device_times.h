// Times of device work by events: two are recorded round a sampled call, and read by a later one or by who asks for the
// counters. Nobody waits for them. Run on played runtimes alone so far (test/static, test/native/suite/times).
#pragma once

#include "bound.h"

namespace opswap {

class DeviceTime {
 public:
  // Records the first event on the call's stream. Without effect where the host's clock does, where the stream is being
  // captured (a graph would keep the events), and where all events are still on their way.
  DeviceTime(const Bound &bound, const opswap_exec &exec);
  // Without `counted` the time is given up.
  ~DeviceTime();
  DeviceTime(const DeviceTime &) = delete;

  // The call went well: records the second event, whose distance will be a time of `impl` on this bucket.
  void counted(Impl &impl, uint64_t bucket);

 private:
  struct Pair *pair_ = nullptr;
  void *stream_ = nullptr;
};

// Adds the times that are known by now to their implementations' counters.
void read_device_times();

}  // namespace opswap
