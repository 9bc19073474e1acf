// CUDA devices as the registry sees them. The driver is first asked when a caller asks for the status or brings device
// tensors, never at load: a process that forks its workers must not have started the driver before.
#pragma once

#include "error.h"

namespace opswap {

constexpr const char *kNoDevice = "no usable CUDA device: ";

// "cuda: ..." with the devices that can run the kernels, "emulated: ...", or "no usable CUDA device: why".
const char *device_status();

// nullptr when device `id` can run the kernels, or why not.
const char *device_refusal(int32_t id);

// Makes device `id` current for a launch and brings the one before back.
class DeviceScope {
 public:
  explicit DeviceScope(int32_t id);
  ~DeviceScope();
  DeviceScope(const DeviceScope &) = delete;
  opswap_status status() const { return status_; }

 private:
  opswap_status status_ = 0;
  int previous_ = -1;  // -1: nothing to bring back
};

}  // namespace opswap
