// How wide the accesses of a call may be, and what only the call knows about its tensors: index and value dtypes.
#pragma once

#include <algorithm>
#include <bit>
#include <initializer_list>

#include "common/device/vec.h"
#include "kernel_launch.h"
#include "types.h"

namespace opswap::device {

constexpr int64_t kWidest = 16;  // bytes of the widest access of a thread

// Or of a tensor's address and of the strides that matter, in bytes: an access of any row fits what divides this.
inline int64_t placement(const Tensor &t) {
  int64_t all = int64_t(reinterpret_cast<uintptr_t>(t.data));
  for (int32_t d = 0; d + 1 < t.ndim; ++d)
    if (t.shape[d] > 1) all |= t.stride[d] * dtype_bytes(t.dtype);
  return all;
}

// The widest access that divides all of these byte counts.
inline int64_t widest_access(std::initializer_list<int64_t> bytes) {
  int64_t all = kWidest;
  for (int64_t b : bytes) all |= b;
  return all & -all;
}

// Whether `elements` at a time can be read and written, in accesses of at most 16 bytes; nothing given fits.
inline bool fits(const Tensor &t, int64_t elements) {
  return !t || placement(t) % std::min(kWidest, elements * dtype_bytes(t.dtype)) == 0;
}

// body(Word{}) with the type of this many bytes.
template <class Body>
inline auto with_word(int64_t bytes, Body &&body) {
  switch (bytes) {
    case 1:
      return body(uint8_t{});
    case 2:
      return body(uint16_t{});
    case 4:
      return body(uint32_t{});
    case 8:
      return body(uint2{});
    default:
      return body(uint4{});
  }
}

// SMs that a call's blocks are counted for.
inline int64_t sms_of(const opswap_exec &exec) { return exec.sm_budget > 0 ? exec.sm_budget : device_sms(); }

// Blocks along x take tokens; those along y share a token's columns while there are fewer tokens than SMs. A thread
// holds up to `held` columns at once.
inline Geometry token_geometry(const opswap_exec &exec, int64_t tokens, int64_t columns, int64_t held) {
  constexpr int64_t kMostThreads = 256, kThreadsPerSm = 1024;
  const int64_t sms = sms_of(exec);
  const bool few = tokens < sms;
  const int64_t threads = std::clamp<int64_t>(round_up<int64_t>(few ? columns : ceil_div(columns, held), kWarp), kWarp,
                                              few ? kMostThreads / 2 : kMostThreads);
  const int64_t parts = few ? std::clamp<int64_t>(ceil_div(columns, threads), 1, ceil_div(sms, tokens + 1)) : 1;
  return {.grid = {std::min(tokens, sms * (kThreadsPerSm / threads)), parts}, .block = {threads}, .pdl = true};
}

// The smallest power of two that is not below n.
inline int64_t power_of_two(int64_t n) { return int64_t(std::bit_ceil(uint64_t(std::max<int64_t>(n, 1)))); }

// int32 or int64 numbers in memory.
struct Indices {
  void *data;
  bool wide;
  OPSWAP_DEVICE int64_t operator[](int64_t i) const {
    return wide ? load<1>(static_cast<const int64_t *>(data) + i)[0]
                : load<1>(static_cast<const int32_t *>(data) + i)[0];
  }
  OPSWAP_DEVICE void set(int64_t i, int64_t value) const {
    if (wide)
      store(static_cast<int64_t *>(data) + i, Vec<int64_t, 1>{value});
    else
      store(static_cast<int32_t *>(data) + i, Vec<int32_t, 1>{int32_t(value)});
  }
};
inline Indices indices_of(const Tensor &t) { return {t.data, t.dtype == DType::int64}; }

// Elements [at, at + N) of an array of T, in as few accesses as 16 bytes each allow.
template <int N, class T>
OPSWAP_DEVICE Vec<float, N> load_floats(const T *p) {
  constexpr int kStep = N * int(sizeof(T)) > int(kWidest) ? int(kWidest) / int(sizeof(T)) : N;
  Vec<float, N> x;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    const Vec<float, kStep> part = to_float(load<kStep>(p + i));
#pragma unroll
    for (int j = 0; j < kStep; ++j) x[i + j] = part[j];
  }
  return x;
}
template <class T, int N>
OPSWAP_DEVICE void store_floats(T *p, const Vec<float, N> &x) {
  constexpr int kStep = N * int(sizeof(T)) > int(kWidest) ? int(kWidest) / int(sizeof(T)) : N;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    Vec<float, kStep> part;
#pragma unroll
    for (int j = 0; j < kStep; ++j) part[j] = x[i + j];
    store(p + i, from_float<T>(part));
  }
}

// The same for an array whose dtype only the call knows: all threads take one branch.
template <int N>
OPSWAP_DEVICE Vec<float, N> load_floats(const void *p, DType dtype, int64_t at) {
  switch (dtype) {
    case DType::bfloat16:
      return load_floats<N>(static_cast<const bf16 *>(p) + at);
    case DType::float16:
      return load_floats<N>(static_cast<const fp16 *>(p) + at);
    default:
      return load_floats<N>(static_cast<const float *>(p) + at);
  }
}
template <int N>
OPSWAP_DEVICE void store_floats(void *p, DType dtype, int64_t at, const Vec<float, N> &x) {
  switch (dtype) {
    case DType::bfloat16:
      return store_floats(static_cast<bf16 *>(p) + at, x);
    case DType::float16:
      return store_floats(static_cast<fp16 *>(p) + at, x);
    case DType::float8_e4m3fn:
      return store_floats(static_cast<e4m3 *>(p) + at, x);
    default:
      return store_floats(static_cast<float *>(p) + at, x);
  }
}

}  // namespace opswap::device
