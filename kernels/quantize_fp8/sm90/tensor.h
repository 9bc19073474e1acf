// Quantises by one scale of a whole tensor that is found first (tensor.cu).
#pragma once

#include "quantize_fp8.gen.h"

namespace opswap::OPSWAP_PASS {

constexpr int64_t kMostPartials = 512;  // blocks that each leave a largest magnitude
constexpr size_t kTensorWorkspace = sizeof(float) * kMostPartials;

opswap_status quantize_tensor(const quantize_fp8_args &a, const opswap_exec &exec);

}  // namespace opswap::OPSWAP_PASS
