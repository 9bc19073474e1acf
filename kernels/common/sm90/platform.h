// The machine that device code is compiled for: nvcc's, or the emulator's under OPSWAP_EMULATE. Kernels include nothing
// else of CUDA.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef OPSWAP_EMULATE

#include "emulator/emulator.h"
#define OPSWAP_DEVICE \
  inline __attribute__((always_inline))  // inlined also at -O1, so that reports name the kernel's line

// The block's dynamic shared memory seen as a `Type`, aligned for TMA with any swizzle.
#define OPSWAP_SMEM(Type, name)        \
  ::opswap::device::Same<Type> &name = \
      *static_cast<::opswap::device::Same<Type> *>(::opswap::emu::dynamic_smem(sizeof(Type)))

// The same as `count` elements of `Type`, `name` being a pointer to the first; the launch must have asked for all.
#define OPSWAP_SMEM_ARRAY(Type, name, count) \
  Type *name = static_cast<Type *>(::opswap::emu::dynamic_smem(sizeof(Type) * size_t(count)))

// A variable in static shared memory: one per block and declaration.
#define OPSWAP_SHARED(Type, name)                                                    \
  static const char name##_site = 0;                                                 \
  ::opswap::device::Same<Type> &name = *static_cast<::opswap::device::Same<Type> *>( \
      ::opswap::emu::static_smem(&name##_site, sizeof(Type), alignof(Type)))

#else

#include <cuda.h>
#include <cuda_runtime.h>
#define OPSWAP_DEVICE __device__ __forceinline__
#define OPSWAP_SMEM(Type, name)                                          \
  extern __shared__ __align__(1024) unsigned char opswap_dynamic_smem[]; \
  ::opswap::device::Same<Type> &name = *reinterpret_cast<::opswap::device::Same<Type> *>(opswap_dynamic_smem)
#define OPSWAP_SMEM_ARRAY(Type, name, count)                             \
  extern __shared__ __align__(1024) unsigned char opswap_dynamic_smem[]; \
  Type *name = reinterpret_cast<Type *>(opswap_dynamic_smem)
#define OPSWAP_SHARED(Type, name) __shared__::opswap::device::Same<Type> name

#endif

namespace opswap::device {

inline constexpr int kWarp = 32;
inline constexpr int kWarpgroup = 128;
inline constexpr unsigned kAllLanes = 0xffffffffu;

template <class T>
using Same = T;  // lets a macro declare an array

template <class T>
__host__ __device__ constexpr T ceil_div(T n, T step) {
  return (n + step - 1) / step;
}
template <class T>
__host__ __device__ constexpr T round_up(T n, T step) {
  return ceil_div(n, step) * step;
}

}  // namespace opswap::device
