// Finds the one scale of a whole tensor (tensor.cu); rows.h then quantises by it.
#pragma once

#include "quantize_fp8.gen.h"

namespace opswap::OPSWAP_PASS {

// Writes a.scale [1].
opswap_status scale_of_tensor(const quantize_fp8_args &a, const opswap_exec &exec);

}  // namespace opswap::OPSWAP_PASS
