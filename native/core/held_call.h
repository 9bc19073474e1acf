// The arguments of a call on a device, held beyond it: the tensors that the op reads as copies in host memory, so that
// another thread can make a call on the CPU of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bound.h"
#include "copies.h"

namespace opswap {

class HeldCall {
 public:
  // Bytes of host memory that the copies take: each tensor as it lies, with what is between its elements.
  static size_t bytes(const OpSpec &op, const opswap_arg *live);

  // The copies are on their way once this returns. std::bad_alloc, where memory is out.
  HeldCall(const OpSpec &op, const opswap_arg *live, char *memory, Copies &copies);
  HeldCall(const HeldCall &) = delete;

  // What an op only writes still has the device's address here, which nobody reads.
  const opswap_arg *args() const { return args_.data(); }

 private:
  struct Tensor {
    DLTensor dl;
    std::vector<int64_t> dims;  // shape, then strides
  };
  void hold_tensor(opswap_arg &arg);

  std::vector<opswap_arg> args_;
  std::vector<std::unique_ptr<Tensor>> tensors_;
  std::vector<std::unique_ptr<std::string>> strings_;
};

}  // namespace opswap
