// The refusals of argument checks, as sentences that say what came and what is needed; and checks of values and of
// overlapping memory.
#include "check.h"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace opswap {
namespace {

constexpr const char *kTags[] = {"none", "a tensor", "a quantised tensor", "an int", "a float", "a bool", "a string"};

const char *tag_name(int32_t tag) { return tag >= 0 && tag <= OPSWAP_STRING ? kTags[tag] : "an unknown kind"; }

struct Text {
  char value[256] = "";
};

Text list_dtypes(uint32_t mask) {
  Text text;
  for (int32_t d = 0; d < static_cast<int32_t>(DType::count); ++d) {
    if (!(mask & 1u << d)) continue;
    if (text.value[0]) std::strncat(text.value, " or ", sizeof text.value - std::strlen(text.value) - 1);
    std::strncat(text.value, dtype_name(static_cast<DType>(d)), sizeof text.value - std::strlen(text.value) - 1);
  }
  return text;
}

const char *device_name(int32_t type) { return type == kDLCPU ? "cpu" : type == kDLCUDA ? "cuda" : "another device"; }

}  // namespace

const char *dtype_name(DType dtype) {
  static constexpr const char *names[] = {
#define X(name, code, bits, bytes) #name,
#include "dtypes.def"
#undef X
      "unknown"};
  return dtype == DType::bool_ ? "bool" : names[static_cast<int32_t>(std::min(dtype, DType::count))];
}

DLDataType dlpack_type(DType dtype) {
  static constexpr DLDataType types[] = {
#define X(name, code, bits, bytes) {code, bits, 1},
#include "dtypes.def"
#undef X
      {0, 0, 0}};
  return types[static_cast<int32_t>(dtype)];
}

opswap_status check_values(const TensorSpec &s, const Tensor &t, int64_t low, int64_t high) {
  if (!t) return OPSWAP_OK;
  if (t.ndim < 1 || t.ndim > 2)
    return fail(OPSWAP_E_INTERNAL, "%s: %s: value ranges are checked for one or two dimensions only", s.op, s.name);
  const int64_t columns = t.ndim == 2 ? t.shape[1] : 1;
  for (int64_t i = 0; i < t.shape[0]; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      const int64_t at = i * t.stride[0] + (t.ndim == 2 ? j * t.stride[1] : 0);
      const int64_t v = t.dtype == DType::int64 ? t.as<int64_t>()[at] : t.as<int32_t>()[at];
      if (v >= low && v <= high) continue;
      char column[32] = "";
      if (t.ndim == 2) std::snprintf(column, sizeof column, "[%" PRId64 "]", j);
      return fail(OPSWAP_E_VALUE, "%s: %s[%" PRId64 "]%s is %" PRId64 ", needs %" PRId64 " to %" PRId64, s.op, s.name,
                  i, column, v, low, high);
    }
  return OPSWAP_OK;
}

namespace cold {

opswap_status kind(const TensorSpec &s, const opswap_arg &a) {
  if (a.tag == OPSWAP_TENSOR) return null_pointer(s, "tensor");
  return fail(OPSWAP_E_ARGUMENT, "%s: %s is %s, needs a tensor", s.op, s.name, tag_name(a.tag));
}

opswap_status scalar_kind(const char *op, const char *arg, const char *needs, int32_t tag) {
  return fail(OPSWAP_E_ARGUMENT, "%s: %s is %s, needs %s", op, arg, tag_name(tag), needs);
}

opswap_status rank(const TensorSpec &s, const DLTensor &t) {
  return fail(OPSWAP_E_RANK, "%s: %s has %d dimensions, needs %d", s.op, s.name, t.ndim, s.ndim);
}

opswap_status dtype(const TensorSpec &s, const DLTensor &t) {
  const DType is = dtype_of(t.dtype);
  const Text needs = list_dtypes(s.dtypes);
  if (is == DType::count)
    return fail(OPSWAP_E_DTYPE, "%s: %s has DLPack dtype (code %d, %d bits, %d lanes), needs %s", s.op, s.name,
                t.dtype.code, t.dtype.bits, t.dtype.lanes, needs.value);
  return fail(OPSWAP_E_DTYPE, "%s: %s is %s, needs %s", s.op, s.name, dtype_name(is), needs.value);
}

opswap_status dtype_differs(const TensorSpec &s, DType is, const char *variable, DType needs) {
  return fail(OPSWAP_E_DTYPE, "%s: %s is %s, needs %s like the other %s tensors", s.op, s.name, dtype_name(is),
              dtype_name(needs), variable);
}

opswap_status null_pointer(const TensorSpec &s, const char *what) {
  return fail(OPSWAP_E_NULL, "%s: %s has a null %s pointer", s.op, s.name, what);
}

opswap_status device(const TensorSpec &s, const DLTensor &t, const ArgsBase &base) {
  return fail(OPSWAP_E_DEVICE, "%s: %s is on %s:%d, the first %stensor is on %s:%d", s.op, s.name,
              device_name(t.device.device_type), t.device.device_id, s.host ? "device " : "",
              device_name(base.device_type), base.device_id);
}

opswap_status stride(const TensorSpec &s, const DLTensor &t, int dim, int64_t needs) {
  for (int d = 0; d < t.ndim; ++d)
    if (t.shape[d] == 0) return OPSWAP_OK;  // without elements any stride will do; numpy writes 0
  return fail(OPSWAP_E_STRIDE, "%s: %s.stride[%d] is %" PRId64 ", needs %" PRId64 "%s", s.op, s.name, dim,
              t.strides[dim], needs, s.dense ? " (contiguous)" : "");
}

opswap_status negative(const TensorSpec &s, const DLTensor &t, int dim) {
  const bool shape = t.shape[dim] < 0;
  return fail(shape ? OPSWAP_E_SHAPE : OPSWAP_E_STRIDE, "%s: %s.%s[%d] is %" PRId64 ", needs 0 or more", s.op, s.name,
              shape ? "shape" : "stride", dim, shape ? t.shape[dim] : t.strides[dim]);
}

opswap_status too_large(const TensorSpec &s, const DLTensor &t) {
  return fail(OPSWAP_E_SHAPE, "%s: %s spans more elements than memory can hold (first dimension %" PRId64 ")", s.op,
              s.name, t.shape[0]);
}

opswap_status self_overlap(const TensorSpec &s, int dim) {
  return fail(OPSWAP_E_OVERLAP, "%s: %s is written, but its stride in dimension %d makes two elements share memory",
              s.op, s.name, dim);
}

opswap_status shape(const TensorSpec &s, int dim, int64_t is, const char *expression, int64_t needs) {
  return fail(OPSWAP_E_SHAPE, "%s: %s.shape[%d] is %" PRId64 ", needs %s = %" PRId64, s.op, s.name, dim, is, expression,
              needs);
}

opswap_status require(const char *op, const char *expression, const char *facts) {
  return fail(OPSWAP_E_ARGUMENT, "%s: needs %s, but %s", op, expression, facts);
}

opswap_status count(const char *op, int32_t is, int32_t needs) {
  return fail(OPSWAP_E_COUNT, "%s: got %d arguments, needs %d", op, is, needs);
}

// Elements from the first to one past the last of the dimensions from `dim` on.
static int64_t row_extent(const Tensor &t, int dim) {
  int64_t last = 0;
  for (int d = dim; d < t.ndim; ++d) last += (t.shape[d] - 1) * t.stride[d];
  return last + 1;
}

// Two views of one buffer that interleave are apart although their ranges meet: K and V halves of a fused cache row,
// the scales behind each of its heads, or the query and key heads in the rows of one fused projection. Rows are what is
// left after `lead` equal dimensions.
static bool interleaved(const Tensor &w, const Tensor &o) {
  if (w.ndim != o.ndim) return false;
  const int64_t wide = dtype_bytes(w.dtype), other = dtype_bytes(o.dtype);
  const int64_t delta = static_cast<char *>(o.data) - static_cast<char *>(w.data), gap = delta >= 0 ? delta : -delta;
  int64_t period = INT64_MAX;
  for (int lead = 1; lead < w.ndim; ++lead) {
    if (w.shape[lead - 1] != o.shape[lead - 1]) return false;
    if (w.shape[lead - 1] > 1) {
      if (w.stride[lead - 1] * wide != o.stride[lead - 1] * other) return false;
      period = std::min(period, w.stride[lead - 1] * wide);
    }
    const int64_t of_w = row_extent(w, lead) * wide, of_o = row_extent(o, lead) * other;
    const int64_t first = delta >= 0 ? of_w : of_o, second = delta >= 0 ? of_o : of_w;
    if (gap >= first && gap + second <= period) return true;
  }
  return false;
}

opswap_status overlap(const TensorSpec &ws, const Tensor &w, const TensorSpec &os, const Tensor &o) {
  if (interleaved(w, o)) return OPSWAP_OK;
  return fail(OPSWAP_E_OVERLAP, "%s: %s is written, but shares memory with %s", ws.op, ws.name, os.name);
}

opswap_status distinct_elements(const TensorSpec &s, const Tensor &t) {
  std::array<int, 8> order{};
  int n = 0;
  for (int d = 0; d < t.ndim && n < int(order.size()); ++d)
    if (t.shape[d] > 1) order[n++] = d;
  std::sort(order.begin(), order.begin() + n, [&](int a, int b) { return t.stride[a] < t.stride[b]; });
  int64_t reach = 0;  // offset of the last element of the dimensions seen so far
  for (int i = 0; i < n; ++i) {
    if (t.stride[order[i]] <= reach) return self_overlap(s, order[i]);
    reach += (t.shape[order[i]] - 1) * t.stride[order[i]];
  }
  return OPSWAP_OK;
}

}  // namespace cold
}  // namespace opswap
