// What a room's sm90.cu starts with. The file is compiled once per value of the op's first type variable, `Scalar`, in
// namespace OPSWAP_PASS; the generated glue picks the instance by the arguments' dtype. `a` are the checked arguments
// (pointers of device memory), `exec` holds stream, workspace and SM budget.
#pragma once

#include "common/device/scalar.h"
#include "common/sm90/launch.h"
#include "types.h"

// Starts the kernels: no host synchronisation, no allocation; `return launch(exec, ...)`.
#define OPSWAP_SM90(op) \
  opswap_status op##_sm90([[maybe_unused]] const op##_args &a, [[maybe_unused]] const opswap_exec &exec)

// Optional: why these arguments cannot run, as a sentence of static storage, or nullptr.
#define OPSWAP_SM90_CAN(op) const char *op##_sm90_can([[maybe_unused]] const op##_args &a)

// Optional: bytes of exec.workspace that these arguments need.
#define OPSWAP_SM90_WORKSPACE(op) \
  size_t op##_sm90_workspace([[maybe_unused]] const op##_args &a, [[maybe_unused]] const opswap_exec &exec)

namespace opswap::OPSWAP_PASS {

using namespace device;
using namespace sm90;
#ifdef OPSWAP_SCALAR
using Scalar = OPSWAP_SCALAR;
#endif

}  // namespace opswap::OPSWAP_PASS
