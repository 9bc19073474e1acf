// What a room's sm90.cu needs of the library, replaced by the emulator: kernel launch, the device, refusals. Plans are
// those of the model: there are no plan files, and nobody reads their keys.
#include "room.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "check.h"
#include "device.h"
#include "error.h"
#include "kernel_launch.h"
#include "tuned.h"

namespace opswap {

opswap_status launch_emulated(const Kernel &kernel, const Geometry &g, const std::function<void()> &body) {
  const auto size = [](const Extent &e) { return dim3(unsigned(e.x), unsigned(e.y), unsigned(e.z)); };
  emu::room_report() = emu::run({kernel.name, size(g.grid), size(g.block), g.smem, size(g.cluster), g.pdl}, body);
  return emu::room_report() ? OPSWAP_OK : OPSWAP_E_LAUNCH;
}

int64_t device_sms() { return emu::kDevices[0].sms; }
bool device_is_one_of(const char *models) { return std::strstr(models, emu::kDevices[0].name); }

const int64_t *tuned_choice(const char *, const char *, const PlanKey &) { return nullptr; }
const char *dtype_name(DType) { return ""; }

opswap_status fail(Status status, const char *format, ...) {
  char text[1000];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  emu::room_report().error = text;
  return status;
}

namespace emu {

Report &room_report() {
  thread_local Report last;
  return last;
}

DeviceTensor::DeviceTensor(const void *data, DType dtype, std::initializer_list<int64_t> sizes) {
  int64_t elements = 1;
  tensor.ndim = int32_t(sizes.size());
  std::copy(sizes.begin(), sizes.end(), shape);
  for (int32_t d = tensor.ndim; d-- > 0; elements *= shape[d]) stride[d] = elements;
  tensor.data = const_cast<void *>(data), tensor.dtype = dtype, tensor.on_host = false;
  tensor.shape = shape, tensor.stride = stride, tensor.bytes = elements * dtype_bytes(dtype);
}

}  // namespace emu
}  // namespace opswap
