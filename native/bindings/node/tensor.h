// NativeTensor: a DLTensor over a JavaScript buffer, checked once and used by many calls.
#pragma once

#include <napi.h>

#include <array>

#include "opswap.h"

namespace opswap_node {

// Throws a JavaScript Error with `code`.
[[noreturn]] void raise(Napi::Env env, const char *code, const std::string &message);
// Throws when `status` is not success, with the library's own sentence.
void check(Napi::Env env, opswap_status status);

constexpr size_t kMostDims = 8;

// Owns a reference to its buffer: the memory lives as long as the descriptor.
class NativeTensor {
 public:
  // tensor(data, dtype, shape, strides?, byteOffset?); every element lies inside the buffer, or it throws.
  static Napi::Value create(const Napi::CallbackInfo &info);
  // nullptr when `value` is not one of ours.
  static const DLTensor *unwrap(napi_env env, napi_value value);

  explicit NativeTensor(const Napi::CallbackInfo &info);
  NativeTensor(const NativeTensor &) = delete;
  NativeTensor &operator=(const NativeTensor &) = delete;

 private:
  void read_memory(Napi::Env env, Napi::Value data);
  void read_layout(const Napi::CallbackInfo &info);
  void check_bounds(Napi::Env env, double byte_offset) const;

  DLTensor dl_{};
  std::array<int64_t, kMostDims> shape_{}, strides_{};
  size_t bytes_ = 0;
  Napi::ObjectReference buffer_;
};

}  // namespace opswap_node
