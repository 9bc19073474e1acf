// Stands for the generated header: the arguments of rms_norm.
#pragma once

#include <cstdint>

namespace opswap {

struct Tensor {
  void *data;
  int64_t stride[2];
  template <class T>
  T *as() const {
    return static_cast<T *>(data);
  }
};
struct rms_norm_args {
  Tensor out, input, weight;
  int64_t T, H;
  float epsilon;
};

}  // namespace opswap
