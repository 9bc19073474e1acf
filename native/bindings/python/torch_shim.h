// The functions of torch's stable C shim that opswap calls, found by name in the torch that is already loaded.
// Signatures: torch/csrc/inductor/aoti_torch/c/shim.h and torch/csrc/stable/c/shim.h, torch 2.9 and later.
#pragma once

#include <cstdint>

namespace opswap_torch {

using StableIValue = uint64_t;
struct AtenTensorOpaque;
using AtenTensor = AtenTensorOpaque *;
struct TorchLibraryOpaque;
using TorchLibrary = TorchLibraryOpaque *;
using Boxed = void (*)(StableIValue *stack, uint64_t inputs, uint64_t outputs);

#define OPSWAP_SHIM_FUNCTIONS(X)                                                                                 \
  X(int32_t, aoti_torch_library_init_impl, (const char *, const char *, const char *, uint32_t, TorchLibrary *)) \
  X(int32_t, aoti_torch_library_impl, (TorchLibrary, const char *, Boxed))                                       \
  X(int32_t, aoti_torch_call_dispatcher, (const char *, const char *, StableIValue *))                           \
  X(int32_t, aoti_torch_get_data_ptr, (AtenTensor, void **))                                                     \
  X(int32_t, aoti_torch_get_dim, (AtenTensor, int64_t *))                                                        \
  X(int32_t, aoti_torch_get_sizes, (AtenTensor, int64_t **))                                                     \
  X(int32_t, aoti_torch_get_strides, (AtenTensor, int64_t **))                                                   \
  X(int32_t, aoti_torch_get_dtype, (AtenTensor, int32_t *))                                                      \
  X(int32_t, aoti_torch_get_device_type, (AtenTensor, int32_t *))                                                \
  X(int32_t, aoti_torch_get_device_index, (AtenTensor, int32_t *))                                               \
  X(int32_t, aoti_torch_delete_tensor_object, (AtenTensor))                                                      \
  X(int32_t, aoti_torch_create_tensor_from_blob,                                                                 \
    (void *, int64_t, const int64_t *, const int64_t *, int64_t, int32_t, int32_t, int32_t, AtenTensor *))       \
  X(int32_t, aoti_torch_empty_strided,                                                                           \
    (int64_t, const int64_t *, const int64_t *, int32_t, int32_t, int32_t, AtenTensor *))                        \
  X(int32_t, aoti_torch_device_type_cpu, ())                                                                     \
  X(int32_t, aoti_torch_device_type_cuda, ())

// torch's number for each of the library's dtypes.
#define OPSWAP_SHIM_DTYPES(X)                      \
  X(float32, aoti_torch_dtype_float32)             \
  X(bfloat16, aoti_torch_dtype_bfloat16)           \
  X(float16, aoti_torch_dtype_float16)             \
  X(float64, aoti_torch_dtype_float64)             \
  X(int64, aoti_torch_dtype_int64)                 \
  X(int32, aoti_torch_dtype_int32)                 \
  X(int8, aoti_torch_dtype_int8)                   \
  X(uint8, aoti_torch_dtype_uint8)                 \
  X(bool_, aoti_torch_dtype_bool)                  \
  X(float8_e4m3fn, aoti_torch_dtype_float8_e4m3fn) \
  X(float8_e5m2, aoti_torch_dtype_float8_e5m2)

}  // namespace opswap_torch
