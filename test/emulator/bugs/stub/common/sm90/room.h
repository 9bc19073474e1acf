// Stands for the library around a room's sm90.cu: a launch runs on the emulator and keeps its report.
#pragma once

#include <tuple>

#include "common/device/scalar.h"
#include "emulator/emulator.h"

namespace opswap {

using opswap_status = int;
struct opswap_exec {
  int64_t sm_budget;
  mutable emu::Report report;
};
struct Extent {
  int64_t x = 1, y = 1, z = 1;
};
struct Geometry {
  Extent grid{}, block{};
  size_t smem = 0;
  bool pdl = false;
};
inline constexpr int64_t kSms = 132;

template <class... P, class... A>
opswap_status launch(const opswap_exec &exec, const char *name, void (*kernel)(P...), const Geometry &g, A &&...args) {
  const auto size = [](const Extent &e) { return dim3(unsigned(e.x), unsigned(e.y), unsigned(e.z)); };
  exec.report = emu::launch({name, size(g.grid), size(g.block), g.smem}, kernel, static_cast<P>(args)...);
  return 0;
}

namespace OPSWAP_PASS {
using namespace device;
using namespace sm90;
using Scalar = bf16;
}  // namespace OPSWAP_PASS

}  // namespace opswap

namespace opswap::sm90 {}

#define OPSWAP_SM90(op) opswap_status op##_sm90(const op##_args &a, const opswap_exec &exec)
