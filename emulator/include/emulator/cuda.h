// The functions of CUDA C++ that kernels may call besides the wrappers.
#pragma once

#include "emulator/device.h"

#define threadIdx (::opswap::emu::thread_view->thread)
#define blockIdx (::opswap::emu::block_view->block)
#define blockDim (::opswap::emu::block_view->block_size)
#define gridDim (::opswap::emu::block_view->grid_size)

inline void __syncthreads() { opswap::emu::barrier(0, 0); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  opswap::emu::collective(mask, opswap::emu::Collective::kSync, 0);
}

template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const uint32_t lane = opswap::emu::thread_view->lane;
  return opswap::emu::shuffle(mask, value, (lane & ~uint32_t(width - 1)) | (uint32_t(source) & uint32_t(width - 1)));
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const uint32_t lane = opswap::emu::thread_view->lane, from = lane ^ uint32_t(bits);
  return opswap::emu::shuffle(mask, value, from / uint32_t(width) <= lane / uint32_t(width) ? from : lane);
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const uint32_t lane = opswap::emu::thread_view->lane;
  return opswap::emu::shuffle(mask, value, lane % uint32_t(width) + by < uint32_t(width) ? lane + by : lane);
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const uint32_t lane = opswap::emu::thread_view->lane;
  return opswap::emu::shuffle(mask, value, lane % uint32_t(width) >= by ? lane - by : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const uint64_t *out = opswap::emu::collective(mask, opswap::emu::Collective::kBallot, predicate != 0);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) bits |= (mask >> lane & 1) ? unsigned(out[lane]) << lane : 0;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }
template <class T>
unsigned __match_any_sync(unsigned mask, T value) {
  uint64_t in = 0;
  std::memcpy(&in, &value, sizeof value);
  const uint64_t *out = opswap::emu::collective(mask, opswap::emu::Collective::kMatch, in);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) bits |= unsigned((mask >> lane & 1) && out[lane] == in) << lane;
  return bits;
}

template <class T>
T __reduce_add_sync(unsigned mask, T value) {
  return opswap::emu::reduce(mask, value, [](T a, T b) { return T(a + b); });
}
template <class T>
T __reduce_min_sync(unsigned mask, T value) {
  return opswap::emu::reduce(mask, value, [](T a, T b) { return a < b ? a : b; });
}
template <class T>
T __reduce_max_sync(unsigned mask, T value) {
  return opswap::emu::reduce(mask, value, [](T a, T b) { return a > b ? a : b; });
}

namespace opswap::emu {

// Replaces *p by next(*p) at once, and gives what it was; T has 4 or 8 bytes.
template <class T, class Next>
T exchange(T *p, Next next) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  auto *bits = reinterpret_cast<Bits *>(p);
  access_atomic(p, sizeof(T));
  Bits old = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(bits, &old, std::bit_cast<Bits>(T(next(std::bit_cast<T>(old)))), true,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return std::bit_cast<T>(old);
}

}  // namespace opswap::emu

// clang-format off
template <class T> T atomicAdd(T *p, std::type_identity_t<T> v) { return opswap::emu::exchange(p, [=](T old) { return old + v; }); }
template <class T> T atomicMax(T *p, std::type_identity_t<T> v) { return opswap::emu::exchange(p, [=](T old) { return old < v ? v : old; }); }
template <class T> T atomicMin(T *p, std::type_identity_t<T> v) { return opswap::emu::exchange(p, [=](T old) { return v < old ? v : old; }); }
template <class T> T atomicOr(T *p, std::type_identity_t<T> v) { return opswap::emu::exchange(p, [=](T old) { return old | v; }); }
template <class T> T atomicAnd(T *p, std::type_identity_t<T> v) { return opswap::emu::exchange(p, [=](T old) { return old & v; }); }
template <class T> T atomicExch(T *p, std::type_identity_t<T> v) { return opswap::emu::exchange(p, [=](T) { return v; }); }
template <class T> T atomicCAS(T *p, std::type_identity_t<T> expected, std::type_identity_t<T> v) { return opswap::emu::exchange(p, [=](T old) { return old == expected ? v : old; }); }

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
template <class T> T __ldg(const T *p) { return *p; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(unsigned x) { return x ? std::countr_zero(x) + 1 : 0; }
inline int __clz(unsigned x) { return std::countl_zero(x); }
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned select) {
  const uint64_t bytes = uint64_t(y) << 32 | x;
  unsigned out = 0;
  for (int i = 0; i < 4; ++i) out |= unsigned(bytes >> 8 * (select >> 4 * i & 7) & 0xff) << 8 * i;
  return out;
}
// clang-format on
