// A room's sm90.cu outside of the library: a source defines OPSWAP_OP, OPSWAP_PASS and OPSWAP_SCALAR, includes
// "<op>/sm90.cu" and calls its <op>_sm90 with arguments of its own. The launch's report is kept.
#pragma once

#include <initializer_list>

#include "emulator/emulator.h"
#include "types.h"

namespace opswap::emu {

Report &room_report();  // of the last launch of this host thread

// A dense tensor on the device, of at most 4 dimensions.
struct DeviceTensor {
  int64_t shape[4]{}, stride[4]{};
  Tensor tensor;

  DeviceTensor(const void *data, DType dtype, std::initializer_list<int64_t> sizes);
  DeviceTensor(const DeviceTensor &) = delete;  // `tensor` points into it
};

}  // namespace opswap::emu
