// A second call on a live call's inputs, whose outputs are in memory of its own.
#pragma once

#include "bound.h"
#include "copies.h"
#include "cut_call.h"

namespace opswap {

// Old values of the outputs that an op updates in place (caches, a residual stream), kept from before the live call.
// Outputs that it only writes need none.
class OldValues {
 public:
  static size_t bytes(const OpSpec &op, const CutCall &live);
  void keep(const OpSpec &op, const CutCall &live, char *memory, Copies &copies);
  const char *of(int32_t arg) const { return at_[arg]; }  // nullptr: not kept

 private:
  const char *at_[kMostArgs] = {};
};

// Whether the guards round such an output, which may have been copied with them, still are what they were.
bool guards_hold(const char *output, size_t bytes);

class ScratchCall {
 public:
  static size_t bytes(const OpSpec &op, const CutCall &live);

  // The arguments of `live`, which outlives this, with every written tensor moved into `memory`.
  opswap_status lay_out(const Op &op, const CutCall &live, char *memory);

  // Old values where the op updates, else bytes that are NaN in every floating dtype; and the guards between outputs.
  void fill(const OldValues &old, Copies &copies);

  // Whether nothing was written between the outputs, nor between the entries of one that is cut.
  bool intact() const;

  const Bound &bound() const { return bound_; }
  int32_t outputs() const { return count_; }
  const DLTensor &output(int32_t i) const { return tensors_[i]; }
  size_t output_bytes(int32_t i) const { return outputs_[i].bytes; }

 private:
  struct Output {
    int32_t arg;
    char *data;
    size_t bytes;
  };
  const CutCall *live_ = nullptr;
  opswap_arg args_[kMostArgs];
  DLTensor tensors_[kMostArgs];
  Output outputs_[kMostArgs];
  int32_t count_ = 0;
  Bound bound_;
};

}  // namespace opswap
