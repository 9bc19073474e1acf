// CUDA devices: their status in words, the number of SMs, and the switch to the device of a call. Three versions: on
// the emulator, with CUDA, without.
#include "device.h"

#include "kernel_launch.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#ifdef OPSWAP_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace opswap {

std::vector<std::string_view> words_of(const char *text) {
  std::vector<std::string_view> words;
  std::string_view rest = text ? text : "";
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (end) words.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return words;
}

bool device_is_one_of(const char *models) {
#ifdef OPSWAP_EMULATE
  const std::vector<std::string_view> name = {played_model()};
#else
  const std::vector<std::string_view> name = words_of(device_status());  // it says the first device's name first
#endif
  for (const std::string_view model : words_of(models))
    if (std::find(name.begin(), name.end(), model) != name.end()) return true;
  return false;
}

#if defined(OPSWAP_EMULATE)

const char *device_status() { return "emulated: kernels for sm_90a run on the CPU; device tensors are host memory"; }
const char *device_refusal(int32_t id) { return id == 0 ? nullptr : "the emulator has one device, number 0"; }
DeviceScope::DeviceScope(int32_t) {}
DeviceScope::~DeviceScope() = default;

#elif defined(OPSWAP_WITH_CUDA)

namespace {

constexpr int kMajor = 9, kMinor = 0;

std::string error_text(cudaError_t e) {
  return std::string(cudaGetErrorString(e)) + " (" + cudaGetErrorName(e) + ", code " + std::to_string(int(e)) + ")";
}

std::string cuda_release(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Why there is not one device. CUDA says the same of an old driver and of none.
std::string why_none(cudaError_t e) {
  int driver = 0;
  if (e != cudaErrorInsufficientDriver || cudaDriverGetVersion(&driver)) return error_text(e);
  const std::string needed = "one for CUDA " + cuda_release(CUDART_VERSION) + " or later";
  if (!driver) return "no NVIDIA driver is installed; the kernels need " + needed;
  return "the NVIDIA driver is for CUDA " + cuda_release(driver) + ", the kernels need " + needed +
         ": update the driver";
}

// What the driver said when it was first asked; devices do not come and go.
struct Devices {
  std::string status;
  std::vector<std::string> refusals;  // per device, "" when it can run the kernels
  std::vector<int64_t> sms;           // per device

  Devices() {
    int count = 0;
    if (cudaError_t e = cudaGetDeviceCount(&count)) {
      cudaGetLastError();
      status = kNoDevice + why_none(e);
      return;
    }
    std::string usable, others;
    for (int id = 0; id < count; ++id) examine(id, usable, others);
    if (!usable.empty())
      status = "cuda: " + usable;
    else
      status = kNoDevice + (count ? others : "the driver lists none");
    int driver = 0;
    if (!usable.empty() && !cudaDriverGetVersion(&driver)) status += "; driver for CUDA " + cuda_release(driver);
  }

  void examine(int id, std::string &usable, std::string &others) {
    cudaDeviceProp p{};
    std::string &refusal = refusals.emplace_back();
    int64_t &count = sms.emplace_back(1);
    if (cudaError_t e = cudaGetDeviceProperties(&p, id)) {
      cudaGetLastError();
      refusal = "device " + std::to_string(id) + ": " + error_text(e);
    } else {
      count = p.multiProcessorCount;
      const std::string name = "device " + std::to_string(id) + " is " + p.name + " (sm_" + std::to_string(p.major) +
                               std::to_string(p.minor);
      if (p.major == kMajor && p.minor == kMinor) {
        usable += (usable.empty() ? "" : "; ") + name + ", " + std::to_string(p.multiProcessorCount) + " SMs)";
        return;
      }
      refusal = name + "), the kernels are made for sm_90";
    }
    others += (others.empty() ? "" : "; ") + refusal;
  }
};

const Devices &devices() {
  static const Devices *found = new Devices;  // never destroyed, like the registry
  return *found;
}

}  // namespace

const char *device_status() { return devices().status.c_str(); }

const char *device_refusal(int32_t id) {
  const Devices &d = devices();
  if (d.refusals.empty()) return d.status.c_str();
  if (id < 0 || size_t(id) >= d.refusals.size()) return "there is no CUDA device of this number";
  return d.refusals[size_t(id)].empty() ? nullptr : d.refusals[size_t(id)].c_str();
}

int64_t device_sms() {
  int id = 0;
  if (cudaGetDevice(&id)) cudaGetLastError();
  const std::vector<int64_t> &sms = devices().sms;
  return size_t(id) < sms.size() ? sms[size_t(id)] : 1;
}

DeviceScope::DeviceScope(int32_t id) {
  int current = 0;
  cudaError_t e = cudaGetDevice(&current);
  if (!e && current != id) {
    e = cudaSetDevice(id);
    if (!e) previous_ = current;
  }
  if (e) status_ = fail(OPSWAP_E_DEVICE, "device %d cannot be made current: %s", id, error_text(e).c_str());
}

DeviceScope::~DeviceScope() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}

#else

const char *device_status() {
  static const std::string *status = new std::string(
      std::string(kNoDevice) + "this build has no CUDA kernels (made with OPSWAP_CUDA=off, or no CUDA toolchain)");
  return status->c_str();  // never destroyed, like the registry
}
const char *device_refusal(int32_t) { return device_status(); }
DeviceScope::DeviceScope(int32_t) {}
DeviceScope::~DeviceScope() = default;

#endif

}  // namespace opswap
