// Values as they cross torch's stable C shim: what a stack slot holds, and tensors as the library's descriptors.
#pragma once

#include <array>
#include <memory>
#include <utility>

#include "opswap.h"
#include "torch_shim.h"

namespace opswap_torch {

struct Shim {
#define X(result, name, params) result(*name) params = nullptr;
  OPSWAP_SHIM_FUNCTIONS(X)
#undef X
  int32_t (*new_value)(StableIValue **) = nullptr;  // torch 2.13+; before, operator new
  int32_t (*delete_value)(StableIValue *) = nullptr;
  const char *(*what)() = nullptr;
  int32_t (*current_stream)(int32_t device, void **stream) = nullptr;  // torch without CUDA has none
};
inline Shim shim;

// The library's dtype by torch's number; bits is 0 where the library has none.
constexpr int kMostDTypes = 128;
inline std::array<DLDataType, kMostDTypes> dtypes{};
inline int32_t cpu_type = 0, cuda_type = 1, byte_type = 0;

// A tensor handle that this frame owns.
struct DeleteTensor {
  void operator()(AtenTensor t) const { shim.aoti_torch_delete_tensor_object(t); }
};
using OwnedTensor = std::unique_ptr<AtenTensorOpaque, DeleteTensor>;

template <class T>
T take(StableIValue v) {
  T out;
  static_assert(sizeof(T) <= sizeof v);
  __builtin_memcpy(&out, &v, sizeof out);
  return out;
}
template <class T>
StableIValue give(T v) {
  StableIValue out = 0;
  __builtin_memcpy(&out, &v, sizeof v);
  return out;
}

// The value inside an optional; frees the box.
inline std::pair<bool, StableIValue> unbox(StableIValue v) {
  StableIValue *box = take<StableIValue *>(v);
  if (!box) return {false, 0};
  const StableIValue inner = *box;
  shim.delete_value ? void(shim.delete_value(box)) : delete box;
  return {true, inner};
}
inline StableIValue box(StableIValue v) {
  StableIValue *b = nullptr;
  if (shim.new_value)
    shim.new_value(&b);
  else
    b = new StableIValue;
  *b = v;
  return give(b);
}

inline DLDataType dl_dtype(int32_t torch) {
  if (torch >= 0 && torch < kMostDTypes && dtypes[size_t(torch)].bits) [[likely]]
    return dtypes[size_t(torch)];
  return {255, 0, 0};  // refused by the library with the argument's name
}

inline void describe(AtenTensor t, DLTensor &out) {
  int32_t dtype = 0, device = 0, index = 0;
  int64_t dim = 0;
  shim.aoti_torch_get_data_ptr(t, &out.data);
  shim.aoti_torch_get_dim(t, &dim);
  shim.aoti_torch_get_sizes(t, &out.shape);
  shim.aoti_torch_get_strides(t, &out.strides);
  shim.aoti_torch_get_dtype(t, &dtype);
  shim.aoti_torch_get_device_type(t, &device);
  if (device != cpu_type) shim.aoti_torch_get_device_index(t, &index);
  out.ndim = int32_t(dim);
  out.dtype = dl_dtype(dtype);
  out.device = {device == cpu_type ? kDLCPU : device == cuda_type ? kDLCUDA : -1, index};
  out.byte_offset = 0;
}

inline int32_t torch_dtype(DLDataType t) {
  for (int32_t torch = 0; torch < kMostDTypes; ++torch)
    if (dtypes[size_t(torch)].bits == t.bits && dtypes[size_t(torch)].code == t.code) return torch;
  return -1;
}

inline StableIValue give_tensor(const DLTensor &t) {
  AtenTensor handle = nullptr;
  const int32_t device = t.device.device_type == kDLCPU ? cpu_type : cuda_type;
  shim.aoti_torch_create_tensor_from_blob(static_cast<char *>(t.data) + t.byte_offset, t.ndim, t.shape, t.strides, 0,
                                          torch_dtype(t.dtype), device, t.device.device_id, &handle);
  return give(handle);
}

}  // namespace opswap_torch
