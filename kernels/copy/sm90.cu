// copy on sm_90a: a copy between any strides. The kernels of common/device/copy_tensor.h.
#include "copy.gen.h"

#include "common/device/copy_tensor.h"

namespace opswap::OPSWAP_PASS {

// sass copy_boxes_kernel<uint4, 1>: LDG=128 STG=128

OPSWAP_SM90_CAN(copy) { return copy_refusal(a.out, a.input); }

OPSWAP_SM90(copy) { return copy_tensor(exec, a.out, a.input); }

}  // namespace opswap::OPSWAP_PASS
