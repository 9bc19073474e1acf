// Reads from a JavaScript object how a source stores its codes, scales and zeros.
#pragma once

#include <napi.h>

#include "convert/job.h"

namespace opswap_node {

// Reads slices, codes, scales, zeros, zero and groups; refuses what could not be read.
void read_planes(Napi::Object from, opswap::convert::Job &job);

}  // namespace opswap_node
