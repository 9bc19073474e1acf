// CUDA devices as the registry sees them. The driver is first asked when a caller asks for the status or brings device
// tensors, never at load: a process that forks its workers must not have started the driver before.
#pragma once

#include <string_view>
#include <vector>

#include "error.h"

namespace opswap {

constexpr const char *kNoDevice = "no usable CUDA device: ";

// "cuda: ..." with the devices that can run the kernels, "emulated: ...", or "no usable CUDA device: why".
const char *device_status();

// The words of a text, e.g. device models.
std::vector<std::string_view> words_of(const char *text);

// Whether the name of device 0 has one of these models as a word.
bool device_is_one_of(const char *models);

// The model of the card that the emulator plays; in a library that is made for it alone.
const char *played_model();

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
