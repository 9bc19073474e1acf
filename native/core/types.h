// What a room's code sees of its arguments: checked tensors, dtypes and the execution context.
#pragma once

#include <cstdint>

#include "opswap.h"

namespace opswap {

enum class DType : int32_t {
#define X(name, code, bits, bytes) name,
#include "dtypes.def"
#undef X
  count
};

constexpr int64_t kDTypeBytes[] = {
#define X(name, code, bits, bytes) bytes,
#include "dtypes.def"
#undef X
    0};
constexpr int64_t dtype_bytes(DType dtype) { return kDTypeBytes[static_cast<int32_t>(dtype)]; }

// A checked view of one tensor argument; shape and stride point into the caller's DLTensor.
struct Tensor {
  void *data = nullptr;
  const int64_t *shape = nullptr;
  const int64_t *stride = nullptr;  // in elements
  int32_t ndim = 0;
  DType dtype = DType::float32;
  bool on_host = true;  // may differ from the call's device where op.json says "host"
  int64_t bytes = 0;    // from data to one past the last element that the view touches

  explicit operator bool() const { return shape != nullptr; }  // false: optional and not given
  template <class T>
  T *as() const {
    return static_cast<T *>(data);
  }
};

// Base of every generated argument struct.
struct ArgsBase {
  int32_t device_type = kDLCPU;
  int32_t device_id = 0;
};

}  // namespace opswap
