// How far two tensors of one shape are apart, element by element, under a tolerance.
#pragma once

#include "registry.h"

namespace opswap {

struct Difference {
  uint64_t elements = 0;
  uint64_t differing = 0;         // not the same value; NaN is the same as NaN
  uint64_t outside = 0;           // beyond atol + rtol * |expected|, or not finite in another way than `expected`
  uint64_t became_nonfinite = 0;  // not finite where `expected` is
  double max_abs = 0;             // of finite pairs
  double worst = 0;               // largest |got - expected| / (atol + rtol * |expected|) of finite pairs that differ

  void add(const Difference &other);
};

// Both are in memory that this process reads, of one dtype and shape; strides may differ.
Difference compare(const DLTensor &got, const DLTensor &expected, const Tolerance &tolerance);

// The tolerance of an output of `dtype`: exact, where op.json states none.
Tolerance tolerance_of(const OpSpec &op, DType dtype);

}  // namespace opswap
