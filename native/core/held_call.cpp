// Copies shapes, strides and strings by value, and tensors by `Copies`.
#include "held_call.h"

#include "cut_call.h"
#include "recorded_call.h"

namespace opswap {
namespace {

constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

size_t HeldCall::bytes(const OpSpec &op, const opswap_arg *live) {
  size_t sum = 0;
  for (int32_t i = 0; i < op.nargs; ++i)
    if (is_read(op, live, i)) sum += aligned(extent(*live[i].v.tensor));
  return sum;
}

HeldCall::HeldCall(const OpSpec &op, const opswap_arg *live, char *memory, Copies &copies)
    : args_(live, live + op.nargs) {
  for (int32_t i = 0; i < op.nargs; ++i) {
    opswap_arg &arg = args_[size_t(i)];
    if (arg.tag == OPSWAP_STRING) arg.v.s = strings_.emplace_back(std::make_unique<std::string>(arg.v.s))->c_str();
    if (arg.tag != OPSWAP_TENSOR) continue;
    hold_tensor(arg);
    if (!is_read(op, live, i)) continue;
    DLTensor &t = tensors_.back()->dl;
    copies.copy(memory, static_cast<const char *>(t.data) + t.byte_offset, extent(t));
    t.data = memory;
    t.byte_offset = 0;
    memory += aligned(extent(t));
  }
}

void HeldCall::hold_tensor(opswap_arg &arg) {
  const DLTensor &live = *arg.v.tensor;
  Tensor &own = *tensors_.emplace_back(std::make_unique<Tensor>());
  own.dims.assign(live.shape, live.shape + live.ndim);
  own.dims.insert(own.dims.end(), live.strides, live.strides + live.ndim);
  own.dl = live;
  own.dl.device = {kDLCPU, 0};
  own.dl.shape = own.dims.data();
  own.dl.strides = own.dims.data() + live.ndim;
  arg.v.tensor = &own.dl;
}

}  // namespace opswap
