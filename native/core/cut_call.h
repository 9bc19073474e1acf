// A call cut down to what it touches of the tensors that it reaches through an index alone (`blocks` of op.json): a
// cache of thousands of blocks becomes one of the few that the call's slots lie in.
#pragma once

#include <vector>

#include "registry.h"

namespace opswap {

class CutCall {
 public:
  // Which tensors are cut. Nothing: what an index on a device names is not known here.
  enum class Of { nothing, written, all };

  // `live` is checked, outlives this, and unless nothing is cut its index arguments can be read here. std::bad_alloc,
  // where memory is out.
  CutCall(const OpSpec &op, const opswap_arg *live, Of of);
  CutCall(const CutCall &) = delete;
  CutCall &operator=(const CutCall &) = delete;

  // The call's arguments: of a cut tensor the first dimension is shorter, its strides are those of `copy`, and its data
  // still the live ones; index arguments are renumbered copies.
  const opswap_arg *args() const { return args_; }

  // Which entries of its first dimension a tensor keeps, rising; nullptr: all.
  const std::vector<int64_t> *entries(int32_t arg) const;
  // The entry of the live tensor that is its i-th here.
  const char *entry(int32_t arg, size_t i) const;
  // Entry by entry; the bytes between two are set to `between`.
  void copy(int32_t arg, char *to, unsigned char between) const;
  // Whether the bytes between the entries of such a copy still are that.
  bool apart(int32_t arg, const char *copied, unsigned char between) const;

 private:
  static constexpr int kDims = 8;  // as op.json has at most
  struct Group {
    std::vector<int64_t> entries;
    std::vector<char> values;  // of the index
  };
  bool is_member(int32_t arg, int32_t index) const;
  bool wanted(int32_t index, Of of) const;
  void cut_by(int32_t index);
  void renumber(int32_t index, int64_t per, int64_t count, Group &group);
  void cut(int32_t arg, int64_t entries);
  DLTensor &replace(int32_t arg);

  const OpSpec &op_;
  const opswap_arg *const live_, *args_;
  std::vector<Group> groups_;
  int8_t group_of_[kMostArgs];
  opswap_arg replaced_[kMostArgs];  // the rest is set where something is cut
  DLTensor tensors_[kMostArgs];
  int64_t shapes_[kMostArgs][kDims], strides_[kMostArgs][kDims];
};

// From the first byte to one past the last element that a checked view touches.
size_t extent(const DLTensor &t);

}  // namespace opswap
