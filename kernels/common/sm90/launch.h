// launch(exec, name, kernel, geometry, arguments...): starts a kernel on the call's stream; a failure is returned with
// the kernel's name, geometry and arguments. An empty grid is no work and succeeds.
#pragma once

#include <tuple>
#include <type_traits>
#include <utility>

#include "common/sm90/platform.h"
#include "error.h"
#include "kernel_launch.h"

namespace opswap {

template <class T>
constexpr char argument_kind() {
  if constexpr (std::is_pointer_v<T>) return 'p';
  if constexpr (std::is_same_v<T, bool>) return 'b';
  if constexpr (std::is_floating_point_v<T>) return 'f';
  if constexpr (std::is_integral_v<T>) return std::is_signed_v<T> ? 'i' : 'u';
  return 's';
}

// `static`: two rooms' kernels of one type must not share the name of an op.
template <class... P, class... A>
static opswap_status launch(const opswap_exec &exec, const char *name, void (*kernel)(P...), const Geometry &geometry,
                            A &&...args) {
  static_assert(sizeof...(P) == sizeof...(A), "as many arguments as the kernel has parameters");
  std::tuple<std::remove_cv_t<P>...> values(static_cast<std::remove_cv_t<P>>(args)...);
  return std::apply(
      [&](auto &...value) -> opswap_status {
        const KernelArgument described[] = {
            {&value, uint32_t(sizeof value), argument_kind<std::remove_reference_t<decltype(value)>>()}...};
        const Kernel description{OPSWAP_OP, name, described, int32_t(sizeof...(P))};
#ifdef OPSWAP_EMULATE
        return launch_emulated(description, geometry, [&] { kernel(value...); });
#else
        void *params[] = {const_cast<void *>(static_cast<const void *>(&value))...};
        return launch_cuda(exec, description, geometry, reinterpret_cast<const void *>(kernel), params);
#endif
      },
      values);
}

}  // namespace opswap
