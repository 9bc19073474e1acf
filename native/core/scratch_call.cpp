// Copies of a call's written tensors, each between two guards, with the strides of the live ones.
#include "scratch_call.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "check.h"

namespace opswap {
namespace {

constexpr size_t kAlignment = 64, kGuard = 64;
constexpr unsigned char kGuardByte = 0xA7, kPoison = 0xFF;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool is_written(const OpSpec &op, const opswap_arg *args, int32_t i) {
  return op.args[i].written && args[i].tag == OPSWAP_TENSOR;
}

bool guarded(const char *from, size_t n) {
  return std::all_of(from, from + n, [](char c) { return static_cast<unsigned char>(c) == kGuardByte; });
}

}  // namespace

bool guards_hold(const char *output, size_t bytes) {
  return guarded(output - kGuard, kGuard) && guarded(output + bytes, aligned(bytes) - bytes + kGuard);
}

size_t OldValues::bytes(const OpSpec &op, const CutCall &live) {
  const opswap_arg *args = live.args();
  size_t sum = 0;
  for (int32_t i = 0; i < op.nargs; ++i)
    if (is_written(op, args, i) && op.args[i].kept) sum += aligned(extent(*args[i].v.tensor));
  return sum;
}

void OldValues::keep(const OpSpec &op, const CutCall &live, char *memory, Copies &copies) {
  const opswap_arg *args = live.args();
  for (int32_t i = 0; i < op.nargs; ++i) {
    if (!is_written(op, args, i) || !op.args[i].kept) continue;
    const DLTensor &t = *args[i].v.tensor;
    const size_t bytes = extent(t);
    if (live.entries(i))
      live.copy(i, memory, kGuardByte);
    else
      copies.copy(memory, static_cast<const char *>(t.data) + t.byte_offset, bytes);
    at_[i] = memory;
    memory += aligned(bytes);
  }
}

size_t ScratchCall::bytes(const OpSpec &op, const CutCall &live) {
  const opswap_arg *args = live.args();
  size_t sum = kGuard;
  for (int32_t i = 0; i < op.nargs; ++i)
    if (is_written(op, args, i)) sum += aligned(extent(*args[i].v.tensor)) + kGuard;
  return sum;
}

opswap_status ScratchCall::lay_out(const Op &op, const CutCall &live, char *memory) {
  live_ = &live;
  std::copy_n(live.args(), op.spec->nargs, args_);
  count_ = 0;
  for (int32_t i = 0; i < op.spec->nargs; ++i) {
    if (!is_written(*op.spec, args_, i)) continue;
    memory += kGuard;
    const size_t bytes = extent(*args_[i].v.tensor);
    outputs_[count_] = {i, memory, bytes};
    DLTensor &t = tensors_[count_++] = *args_[i].v.tensor;
    t.data = memory;
    t.byte_offset = 0;
    args_[i].v.tensor = &t;
    memory += aligned(bytes);
  }
  return bind(op, args_, op.spec->nargs, bound_);
}

void ScratchCall::fill(const OldValues &old, Copies &copies) {
  for (const Output &out : std::span(outputs_, size_t(count_))) {
    if (const char *values = old.of(out.arg))
      copies.copy(out.data, values, out.bytes);
    else
      copies.set(out.data, kPoison, out.bytes);
    copies.set(out.data - kGuard, kGuardByte, kGuard);
    copies.set(out.data + out.bytes, kGuardByte, aligned(out.bytes) - out.bytes + kGuard);
  }
}

bool ScratchCall::intact() const {
  return std::all_of(outputs_, outputs_ + count_, [&](const Output &out) {
    if (live_->entries(out.arg) && !live_->apart(out.arg, out.data, kGuardByte)) return false;
    return guards_hold(out.data, out.bytes);
  });
}

}  // namespace opswap
