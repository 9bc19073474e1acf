// A second call on a live call's inputs, whose outputs are in memory of its own.
#pragma once

#include "bound.h"

namespace opswap {

// Old values of the outputs that an op updates in place (caches, a residual stream), kept from before the live call.
// Outputs that it only writes need none.
class OldValues {
 public:
  static size_t bytes(const OpSpec &op, const opswap_arg *args);
  void keep(const OpSpec &op, const opswap_arg *args, char *memory);
  const char *of(int32_t arg) const { return at_[arg]; }  // nullptr: not kept

 private:
  const char *at_[kMostArgs] = {};
};

class ScratchCall {
 public:
  static size_t bytes(const OpSpec &op, const opswap_arg *args);

  // The arguments of `live` (of this op, checked) with every written tensor moved into `memory`.
  opswap_status lay_out(const Op &op, const opswap_arg *live, char *memory);

  // Old values where the op updates, else bytes that are NaN in every floating dtype; and the guards between outputs.
  void fill(const OldValues &old);

  // Whether nothing was written between the outputs.
  bool intact() const;

  const Bound &bound() const { return bound_; }
  int32_t outputs() const { return count_; }
  const DLTensor &output(int32_t i) const { return tensors_[i]; }

 private:
  struct Output {
    int32_t arg;
    char *data;
    size_t bytes;
  };
  opswap_arg args_[kMostArgs];
  DLTensor tensors_[kMostArgs];
  Output outputs_[kMostArgs];
  int32_t count_ = 0;
  Bound bound_;
};

}  // namespace opswap
