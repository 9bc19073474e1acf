// Reads which entries an index names, renumbers it, and copies those entries with the strides that they had.
#include "cut_call.h"

#include <algorithm>
#include <cstring>

namespace opswap {
namespace {

constexpr int64_t kAlignment = 64;

int64_t bytes_of(const DLTensor &t) { return t.dtype.bits / 8; }

// Elements from the first to one past the last that the dimensions from `dim` on touch; 0 without elements.
int64_t reach(const DLTensor &t, int32_t dim) {
  int64_t last = 0;
  for (int32_t d = dim; d < t.ndim; ++d) {
    if (t.shape[d] == 0) return 0;
    last += (t.shape[d] - 1) * t.strides[d];
  }
  return last + 1;
}

// Whether its entries lie one behind the other; where they interleave they cannot be copied one by one.
bool has_blocks(const DLTensor &t) { return reach(t, 1) > 0 && t.strides[0] >= reach(t, 1); }

// Calls `see` with each value of an index of one or two dimensions, in their order.
template <class See>
void each_value(const DLTensor &t, See see) {
  const char *data = static_cast<const char *>(t.data) + t.byte_offset;
  const int64_t columns = t.ndim == 2 ? t.shape[1] : 1, size = bytes_of(t);
  for (int64_t i = 0; i < t.shape[0]; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      const char *at = data + (i * t.strides[0] + (t.ndim == 2 ? j * t.strides[1] : 0)) * size;
      int64_t wide = 0;
      int32_t narrow = 0;
      std::memcpy(size == 8 ? static_cast<void *>(&wide) : &narrow, at, size_t(size));
      see(size == 8 ? wide : int64_t(narrow));
    }
}

// The entries that the values name, rising. Values outside name none: they mean "skip this", or are not looked at.
// An op may not be given an empty cache, so there is always one.
std::vector<int64_t> touched(const DLTensor &index, int64_t per, int64_t count) {
  std::vector<int64_t> found;
  each_value(index, [&](int64_t value) {
    if (value < 0 || value / per >= count) return;
    if (found.empty() || found.back() != value / per) found.push_back(value / per);
  });
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  if (found.empty()) found.push_back(0);
  return found;
}

// The distance of two entries: bytes between them stay, as far as an implementation may choose its path by them (that
// there are some, and the alignment), but are never many.
int64_t pitch(const DLTensor &t) {
  const int64_t inner = reach(t, 1), gap = t.strides[0] - inner, line = kAlignment / bytes_of(t);
  return inner + (gap <= line ? gap : line + gap % line);
}

}  // namespace

size_t extent(const DLTensor &t) { return size_t(reach(t, 0) * bytes_of(t)); }

CutCall::CutCall(const OpSpec &op, const opswap_arg *live, Of of) : op_(op), live_(live), args_(live) {
  std::fill_n(group_of_, kMostArgs, int8_t(-1));
  for (int32_t index = 0; index < op.nargs; ++index)
    if (wanted(index, of)) cut_by(index);
}

bool CutCall::is_member(int32_t arg, int32_t index) const {
  return op_.args[arg].index == index && live_[arg].tag == OPSWAP_TENSOR;
}

bool CutCall::wanted(int32_t index, Of of) const {
  if (of == Of::nothing || live_[index].tag != OPSWAP_TENSOR) return false;
  for (int32_t i = 0; i < op_.nargs; ++i)
    if (is_member(i, index) && (of == Of::all || op_.args[i].written)) return true;
  return false;
}

// All tensors of an index have as many entries, of as many slots; they are cut together or not at all.
void CutCall::cut_by(int32_t index) {
  int64_t count = 0, per = 1;
  for (int32_t i = 0; i < op_.nargs; ++i) {
    if (!is_member(i, index)) continue;
    const DLTensor &t = *live_[i].v.tensor;
    if (!has_blocks(t)) return;
    count = t.shape[0];
    if (op_.args[i].slots >= 0) per = t.shape[op_.args[i].slots];
  }
  std::vector<int64_t> entries = touched(*live_[index].v.tensor, per, count);
  if (int64_t(entries.size()) >= count) return;
  const int64_t kept = int64_t(entries.size());
  groups_.push_back({std::move(entries), {}});
  renumber(index, per, count, groups_.back());
  for (int32_t i = 0; i < op_.nargs; ++i)
    if (is_member(i, index)) cut(i, kept);
}

void CutCall::renumber(int32_t index, int64_t per, int64_t count, Group &group) {
  const DLTensor &live = *live_[index].v.tensor;
  DLTensor &t = replace(index);
  const int64_t columns = t.ndim == 2 ? t.shape[1] : 1, size = bytes_of(t);
  group.values.resize(size_t(t.shape[0] * columns * size));
  t.strides[0] = columns;
  if (t.ndim == 2) t.strides[1] = 1;
  t.data = group.values.data();
  t.byte_offset = 0;
  char *to = group.values.data();
  each_value(live, [&](int64_t value) {
    const auto &kept = group.entries;
    if (value >= 0 && value / per < count)
      value = (std::lower_bound(kept.begin(), kept.end(), value / per) - kept.begin()) * per + value % per;
    const int32_t narrow = int32_t(value);
    std::memcpy(to, size == 8 ? static_cast<const void *>(&value) : &narrow, size_t(size));
    to += size;
  });
}

void CutCall::cut(int32_t arg, int64_t entries) {
  DLTensor &t = replace(arg);
  t.strides[0] = pitch(t);
  t.shape[0] = entries;
  group_of_[arg] = int8_t(groups_.size() - 1);
}

// A copy of the argument that is its own to change.
DLTensor &CutCall::replace(int32_t arg) {
  if (args_ == live_) args_ = std::copy_n(live_, op_.nargs, replaced_) - op_.nargs;
  DLTensor &t = tensors_[arg] = *live_[arg].v.tensor;
  t.shape = std::copy_n(t.shape, t.ndim, shapes_[arg]) - t.ndim;
  t.strides = std::copy_n(t.strides, t.ndim, strides_[arg]) - t.ndim;
  replaced_[arg].v.tensor = &t;
  return t;
}

const std::vector<int64_t> *CutCall::entries(int32_t arg) const {
  return group_of_[arg] < 0 ? nullptr : &groups_[size_t(group_of_[arg])].entries;
}

const char *CutCall::entry(int32_t arg, size_t i) const {
  const DLTensor &t = *live_[arg].v.tensor;
  return static_cast<const char *>(t.data) + t.byte_offset + (*entries(arg))[i] * t.strides[0] * bytes_of(t);
}

void CutCall::copy(int32_t arg, char *to, unsigned char between) const {
  const DLTensor &t = tensors_[arg];
  const size_t bytes = size_t(reach(t, 1) * bytes_of(t)), step = size_t(t.strides[0] * bytes_of(t));
  const size_t n = entries(arg)->size();
  for (size_t i = 0; i < n; ++i, to += step) {
    std::memcpy(to, entry(arg, i), bytes);
    if (i + 1 < n) std::memset(to + bytes, between, step - bytes);
  }
}

bool CutCall::apart(int32_t arg, const char *copied, unsigned char between) const {
  const DLTensor &t = tensors_[arg];
  const size_t bytes = size_t(reach(t, 1) * bytes_of(t)), step = size_t(t.strides[0] * bytes_of(t));
  const auto is_between = [=](char c) { return static_cast<unsigned char>(c) == between; };
  for (size_t i = 0; i + 1 < entries(arg)->size(); ++i)
    if (!std::all_of(copied + i * step + bytes, copied + (i + 1) * step, is_between)) return false;
  return true;
}

}  // namespace opswap
