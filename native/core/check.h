// Argument checks: the hot path is inline here, the generated bind functions call it, the sentences are in check.cpp.
#pragma once

#include "error.h"
#include "types.h"

namespace opswap {

// What op.json says of one tensor argument, for messages.
struct TensorSpec {
  const char *op;
  const char *name;
  int32_t ndim;
  uint32_t dtypes;  // bit per DType
  bool dense;       // all strides contiguous; otherwise only the last one is 1
  bool writes;
  bool host;  // may be in host memory while the call is on a device
};

constexpr uint32_t dtype_bit(DType d) { return 1u << static_cast<uint32_t>(d); }
const char *dtype_name(DType dtype);
DLDataType dlpack_type(DType dtype);

// DType::count when the pack has no such dtype. A table: this runs for every tensor of every call.
struct DTypeTable {
  uint8_t entry[64];
  constexpr DTypeTable() : entry{} {
    for (uint8_t &e : entry) e = uint8_t(DType::count);
#define X(name, code, bits, bytes) entry[code << 2 | (bytes == 8 ? 3 : bytes >> 1)] = uint8_t(DType::name);
#include "dtypes.def"
#undef X
  }
};
constexpr DTypeTable kDTypeTable;

inline DType dtype_of(DLDataType t) {
  const unsigned bytes = t.bits >> 3, size = bytes == 8 ? 3 : bytes >> 1;
  if (t.lanes != 1 || t.code > 15 || size > 3 || t.bits != 8u << size) [[unlikely]]
    return DType::count;
  return DType(kDTypeTable.entry[t.code << 2 | size]);
}

constexpr int64_t kMostElements = int64_t{1}
                                  << 48;  // no address space holds more; keeps later arithmetic from overflowing

namespace cold {
[[gnu::cold]] opswap_status kind(const TensorSpec &, const opswap_arg &);
[[gnu::cold]] opswap_status scalar_kind(const char *op, const char *arg, const char *needs, int32_t tag);
[[gnu::cold]] opswap_status rank(const TensorSpec &, const DLTensor &);
[[gnu::cold]] opswap_status dtype(const TensorSpec &, const DLTensor &);
[[gnu::cold]] opswap_status dtype_differs(const TensorSpec &, DType is, const char *variable, DType needs);
[[gnu::cold]] opswap_status null_pointer(const TensorSpec &, const char *what);
[[gnu::cold]] opswap_status device(const TensorSpec &, const DLTensor &, const ArgsBase &);
[[gnu::cold]] opswap_status stride(const TensorSpec &, const DLTensor &, int dim, int64_t needs);
[[gnu::cold]] opswap_status negative(const TensorSpec &, const DLTensor &, int dim);
[[gnu::cold]] opswap_status too_large(const TensorSpec &, const DLTensor &);
[[gnu::cold]] opswap_status self_overlap(const TensorSpec &, int dim);
[[gnu::cold]] opswap_status shape(const TensorSpec &, int dim, int64_t is, const char *expression, int64_t needs);
[[gnu::cold]] opswap_status require(const char *op, const char *expression, const char *facts);
[[gnu::cold]] opswap_status count(const char *op, int32_t is, int32_t needs);
// Byte ranges meet: refuses unless the two views interleave without sharing an element.
[[gnu::cold]] opswap_status overlap(const TensorSpec &, const Tensor &, const TensorSpec &, const Tensor &);
// Strides that are neither contiguous nor obviously apart: refuses when two indices share memory.
[[gnu::cold]] opswap_status distinct_elements(const TensorSpec &, const Tensor &);
}  // namespace cold

// Every element of an int32/int64 tensor lies in [low, high]; reads host memory, so the caller checks the device.
opswap_status check_values(const TensorSpec &, const Tensor &, int64_t low, int64_t high);

// The device of a call is that of its first tensor, or of the first of `n` that is not in host memory.
[[gnu::always_inline]] inline void bind_device(const opswap_arg *args, int32_t n, ArgsBase &base) {
  for (int32_t i = 0; i < n && base.device_type == kDLCPU; ++i)
    if (args[i].tag == OPSWAP_TENSOR && args[i].v.tensor) {
      base.device_type = args[i].v.tensor->device.device_type;
      base.device_id = args[i].v.tensor->device.device_id;
    }
}

[[gnu::always_inline]] inline opswap_status bind_tensor(const TensorSpec &spec, const opswap_arg &arg, Tensor &out,
                                                        const ArgsBase &base) {
  if (arg.tag != OPSWAP_TENSOR || !arg.v.tensor) [[unlikely]]
    return cold::kind(spec, arg);
  const DLTensor &t = *arg.v.tensor;
  if (t.ndim != spec.ndim) [[unlikely]]
    return cold::rank(spec, t);
  const DType dtype = dtype_of(t.dtype);
  if (dtype == DType::count || !(spec.dtypes & dtype_bit(dtype))) [[unlikely]]
    return cold::dtype(spec, t);
  if (!t.shape || !t.strides) [[unlikely]]
    return cold::null_pointer(spec, t.shape ? "strides" : "shape");
  out.on_host = t.device.device_type == kDLCPU;
  if (t.device.device_type != base.device_type || t.device.device_id != base.device_id) [[unlikely]]
    if (!spec.host || !out.on_host) return cold::device(spec, t, base);
  out.shape = t.shape;
  out.stride = t.strides;
  out.ndim = t.ndim;
  out.dtype = dtype;
  out.data = static_cast<char *>(t.data) + t.byte_offset;

  int64_t elements = 1, last = 0;
  bool contiguous = true;
#pragma GCC unroll 8
  for (int d = spec.ndim - 1; d >= 0; --d) {
    if (t.shape[d] < 0 || t.strides[d] < 0) [[unlikely]]
      return cold::negative(spec, t, d);
    if (t.shape[d] != 1) {
      if (t.strides[d] != elements && t.shape[d] != 0 && elements != 0) {
        if (d == spec.ndim - 1 || spec.dense) [[unlikely]]
          if (opswap_status e = cold::stride(spec, t, d, elements)) return e;
        contiguous = false;
      }
      int64_t reach;
      if (__builtin_mul_overflow(elements, t.shape[d], &elements) ||
          __builtin_mul_overflow(t.shape[d] - 1, t.strides[d], &reach) || __builtin_add_overflow(last, reach, &last))
          [[unlikely]]
        return cold::too_large(spec, t);
    }
  }
  if (last > kMostElements) [[unlikely]]
    return cold::too_large(spec, t);
  out.bytes = elements ? (last + 1) * dtype_bytes(dtype) : 0;
  if (elements && !t.data) [[unlikely]]
    return cold::null_pointer(spec, "data");
  if (spec.writes && !contiguous && elements) return cold::distinct_elements(spec, out);
  return OPSWAP_OK;
}

inline opswap_status check_apart(const TensorSpec &ws, const Tensor &written, const TensorSpec &os,
                                 const Tensor &other) {
  if (!written || !other) return OPSWAP_OK;
  const char *w = static_cast<const char *>(written.data), *o = static_cast<const char *>(other.data);
  if (w < o + other.bytes && o < w + written.bytes && written.bytes) [[unlikely]]
    return cold::overlap(ws, written, os, other);
  return OPSWAP_OK;
}

inline bool is_number(const opswap_arg &a) { return a.tag == OPSWAP_FLOAT || a.tag == OPSWAP_INT; }
inline double number(const opswap_arg &a) { return a.tag == OPSWAP_FLOAT ? a.v.f : double(a.v.i); }

}  // namespace opswap
