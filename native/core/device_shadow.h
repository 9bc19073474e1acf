// Shadow samples of calls on a device: both arms run behind the live call on its own stream, and another thread
// compares what they made once it has been copied to the host.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "compare.h"
#include "device_slot.h"
#include "scratch_call.h"

namespace opswap {

// What came of one sample. `record` has its times, statuses and differences.
struct DeviceSample {
  opswap_shadow_record record;
  std::string candidate_error;
  double took_ns = 0;  // on the device, in all
  bool well = true;    // or the CUDA runtime refused some of it, and the record says nothing
};

class DeviceShadow : public std::enable_shared_from_this<DeviceShadow> {
 public:
  DeviceShadow(const Op &op, Impl *control, Impl *candidate, uint64_t most_memory);

  // Before the live call: copies what it will overwrite, or says why the call is left out. `bound` outlives `after`.
  std::optional<LeftOut> before(const Bound &bound, void *stream);

  struct Order {
    const Impl *by;  // what the live call ran
    uint64_t chance;
    bool with_floor;
  };
  using Done = std::function<void(const DeviceSample &)>;
  // Behind it: gives both arms to the stream. `done` is called on another thread, where it may stop this.
  void after(const opswap_shadow_record &begun, const Order &order, Done done) noexcept;
  void give_up() noexcept;  // instead, where the live call failed

  void stop() { slot_->stop(); }

 private:
  // One output as it lies between its guards, with dimensions that outlive the call.
  struct Output {
    DLTensor tensor;
    std::vector<int64_t> dims;  // shape, then strides
    size_t at, bytes;           // from the begin of its arm's memory
  };

  bool lay_out();
  void describe_outputs();
  opswap_status run_arm(int arm, int place, const int *marks);
  void run_arms(const Order &order);
  void find_floor();
  void hand_over() noexcept;
  void finish(bool well);
  void compare_arms();
  Difference differences(size_t got, size_t expected);
  int place_of_arm(int arm) const { return arm ^ control_at_; }

  const Op &op_;
  Impl *const arms_[2];
  const std::shared_ptr<DeviceSlot> slot_;
  // Of the sample that has the slot:
  std::optional<CutCall> live_;
  OldValues old_;
  ScratchCall places_[2];
  size_t kept_ = 0, half_ = 0, workspace_ = 0;
  void *stream_ = nullptr;
  int control_at_ = 0;
  bool ran_ = false, has_floor_ = false;
  std::vector<Output> outputs_;
  DeviceSample sample_{};
  Done done_;
};

}  // namespace opswap
