// Calling a lower op through the registry, so that a switch of the lower op reaches every composite.
#pragma once

#include "check.h"
#include "types.h"

namespace opswap::OPSWAP_ISA {

// Rows [first, first + count) of dimension 0, with storage for the shape.
struct Slice {
  Tensor view;
  int64_t shape[8];
};
inline Slice slice(const Tensor &t, int64_t first, int64_t count) {
  Slice s{t, {}};
  if (!t) return s;
  for (int d = 0; d < t.ndim; ++d) s.shape[d] = d ? t.shape[d] : count;
  s.view.data = t.as<char>() + first * t.stride[0] * dtype_bytes(t.dtype);
  return s;
}

// Packs arguments in order; a tensor that is not given stays not given.
class SubCall {
 public:
  SubCall(const char *op, const ArgsBase &base) : op_(op), device_{base.device_type, base.device_id} {}

  SubCall &tensor(const Tensor &t) { return pack(t, t.shape); }
  SubCall &tensor(const Slice &s) {
    int64_t *shape = shapes_[count_];
    for (int d = 0; d < s.view.ndim; ++d) shape[d] = s.shape[d];
    return pack(s.view, shape);
  }
  SubCall &real(double x) {
    return put(OPSWAP_FLOAT, [&](opswap_arg &a) { a.v.f = x; });
  }
  SubCall &integer(int64_t x) {
    return put(OPSWAP_INT, [&](opswap_arg &a) { a.v.i = x; });
  }
  SubCall &boolean(bool x) {
    return put(OPSWAP_BOOL, [&](opswap_arg &a) { a.v.i = x; });
  }

  // The caller's stream and SM budget go down; its workspace, plan and forced implementation do not.
  opswap_status run(const opswap_exec &exec) {
    const opswap_exec inner{sizeof(opswap_exec), exec.sm_budget, exec.stream, nullptr, 0, nullptr, 0, nullptr};
    return opswap_call(op_, args_, count_, &inner);
  }

 private:
  static constexpr int kMost = 24;

  template <class Set>
  SubCall &put(int32_t tag, Set &&set) {
    args_[count_].tag = tag;
    set(args_[count_++]);
    return *this;
  }
  SubCall &pack(const Tensor &t, const int64_t *shape) {
    if (!t) return put(OPSWAP_NONE, [](opswap_arg &a) { a.v.i = 0; });
    DLTensor &d = tensors_[count_];
    d = {t.data, device_, t.ndim, dlpack_type(t.dtype), const_cast<int64_t *>(shape), const_cast<int64_t *>(t.stride),
         0};
    return put(OPSWAP_TENSOR, [&](opswap_arg &a) { a.v.tensor = &d; });
  }

  const char *op_;
  DLDevice device_;
  int32_t count_ = 0;
  opswap_arg args_[kMost] = {};
  DLTensor tensors_[kMost];
  int64_t shapes_[kMost][8];
};

}  // namespace opswap::OPSWAP_ISA
