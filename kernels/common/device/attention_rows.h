// What a call of attention is made of: queries of sequences of any length, and keys and values in pages. The query
// heads that share a head of keys are rows of one matrix: of a sequence row r is head r % group of token r / group.
#pragma once

#include "common/device/access.h"
#include "common/sm90/tensor_map.h"
#include "types.h"

namespace opswap {

// n / divisor of 31-bit numbers, by a product.
struct Division {
  int32_t divisor;
  uint32_t factor, shift;
  OPSWAP_DEVICE int operator()(int n) const {
    return int((uint32_t(uint64_t(factor) * uint32_t(n) >> 32) + uint32_t(n)) >> shift);
  }
};
inline Division division_by(int64_t divisor) {
  uint32_t shift = 0;
  while (int64_t{1} << shift < divisor) ++shift;
  return {int32_t(divisor), uint32_t((uint64_t{1} << 32) * ((uint64_t{1} << shift) - divisor) / divisor + 1), shift};
}

// [NB, KH, BS, features] as bytes: how many there are, how far apart they lie, how long a slot's row is, and whether
// rows begin at multiples of 16.
struct PagedRows {
  const unsigned char *data;
  int64_t block, head, slot;
  int blocks, heads, slots, bytes;
  bool aligned;
};
inline PagedRows paged_rows(const Tensor &t) {
  if (!t) return {};
  const int64_t size = dtype_bytes(t.dtype);
  return {t.as<const unsigned char>(),
          t.stride[0] * size,
          t.stride[1] * size,
          t.stride[2] * size,
          int(t.shape[0]),
          int(t.shape[1]),
          int(t.shape[2]),
          int(t.shape[3] * size),
          device::placement(t) % 16 == 0};
}
// All slots as one page, if they follow one another.
inline bool one_page(PagedRows &rows) {
  const int64_t all = int64_t(rows.blocks) * rows.slots;
  if (all >= int64_t{1} << 31 || (rows.blocks > 1 && rows.slots > 1 && rows.block != rows.slots * rows.slot))
    return false;
  if (rows.slots == 1) rows.slot = rows.block;
  rows.blocks = 1, rows.slots = int(all);
  return true;
}

// [tokens, heads, features], in elements.
template <class T>
struct HeadRows {
  T *data;
  int64_t token, head;
};
template <class T>
inline HeadRows<T> head_rows(const Tensor &t) {
  if (!t) return {};
  return {t.as<T>(), t.stride[0], t.stride[1]};
}

// A vector, or none; one of a single element has it for all.
template <class T>
struct Vector {
  const T *data;
  int64_t stride;
  OPSWAP_DEVICE T operator[](int64_t i) const { return load<1>(data + i * stride)[0]; }
  OPSWAP_DEVICE T at(int64_t i, T otherwise) const { return data ? (*this)[i] : otherwise; }
};
template <class T>
inline Vector<T> vector_of(const Tensor &t) {
  if (!t) return {};
  return {t.as<const T>(), t.shape[0] == 1 ? 0 : t.stride[0]};
}

template <class T>
struct AttentionCall {
  HeadRows<const T> query;
  HeadRows<T> out;
  HeadRows<float> lse;                               // or none
  HeadRows<float> state;                             // or none: takes what would go to out, as float32
  HeadRows<const float> other, other_lse;            // or none: attention over more keys, which is put together with it
  int states;                                        // parts that the keys of `state`, or of `other`, are cut into:
  int64_t state_part, lse_part;                      // how far apart these are
  PagedRows keys, values, key_scales, value_scales;  // the latter two or none
  bool codes;                                        // keys and values are e4m3
  bool interleaved;                                  // values are, whose `slot` is 1 and `bytes` a page's slots
  const int32_t *block_table;                        // [sequences, MB], or none:
  Vector<int32_t> key_start_loc;                     // then a sequence's slots follow one another from here on
  int64_t table_row, table_column;
  Vector<int32_t> query_start_loc, seq_lens;  // or none: each sequence has q_len tokens, and prefix_len keys
  Vector<float> k_scale, v_scale, sinks;      // or none
  int sequences, group, q_len, prefix_len, features, value_features;
  int few_tokens;  // of a sequence that the kernel of few rows takes, and that of many does not
  Division block_size, by_group;
  int sliding_window;
  bool causal;
  float softmax_scale, softcap;
  bool boxed;  // keys and values, of codes that are multiplied keys alone, come as boxes (attention_boxes.h)
  sm90::TensorMap key_map, value_map;
};

// A block's part of it: rows [first_row, first_row + rows) of a sequence, and the keys that any of them sees.
struct AttentionTask {
  int sequence, kv_head, first_token, first_row, rows, position;  // of the sequence's first new token
  int first_key, last_key, length;
  int part;  // of `state`
};

// The keys that a token at `position` of a sequence sees: [first, last).
struct SeenKeys {
  int first, last;
};
template <class T>
OPSWAP_DEVICE SeenKeys seen_keys(const AttentionCall<T> &call, int position, int length) {
  const int first = call.sliding_window > 0 ? position + 1 - call.sliding_window : 0;
  return {first > 0 ? first : 0, call.causal && position + 1 < length ? position + 1 : length};
}
// Those of a row of a task's tile.
template <class T>
OPSWAP_DEVICE SeenKeys seen_of_row(const AttentionCall<T> &call, const AttentionTask &task, int row) {
  return seen_keys(call, task.position + call.by_group(task.first_row + row), task.length);
}

// New tokens of a sequence, and its first one.
template <class T>
OPSWAP_DEVICE int tokens_of(const AttentionCall<T> &call, int sequence, int &first_token) {
  first_token = sequence * call.q_len;
  if (!call.query_start_loc.data) return call.q_len;
  first_token = call.query_start_loc[sequence];
  return call.query_start_loc[sequence + 1] - first_token;
}

// Which token and head of queries a row of a task's tile is, and where that lies.
struct TokenHead {
  int64_t token, head;
  template <class E>
  OPSWAP_DEVICE int64_t in(const HeadRows<E> &rows) const {
    return token * rows.token + head * rows.head;
  }
};
template <class T>
OPSWAP_DEVICE TokenHead token_head(const AttentionCall<T> &call, const AttentionTask &task, int row) {
  const int token = call.by_group(task.first_row + row), head = task.first_row + row - token * call.group;
  return {int64_t(task.first_token + token), int64_t(task.kv_head * call.group + head)};
}
template <class T, class E>
OPSWAP_DEVICE int64_t place_of(const AttentionCall<T> &call, const HeadRows<E> &rows, const AttentionTask &task,
                               int row) {
  return token_head(call, task, row).in(rows);
}
// The head of queries that a row is of.
template <class T>
OPSWAP_DEVICE int head_of(const AttentionCall<T> &call, const AttentionTask &task, int row) {
  const int at = task.first_row + row;
  return task.kv_head * call.group + at - call.by_group(at) * call.group;
}

// Keys of a sequence.
template <class T>
OPSWAP_DEVICE int length_of(const AttentionCall<T> &call, int sequence) {
  return call.seq_lens.data ? call.seq_lens[sequence] : call.prefix_len;
}

// The share of a row's own state beside those of other keys, and the log-sum-exp of all.
struct JoinedStates {
  float own = 1, most = -INFINITY, shrink = 0, lse;
  template <class T>
  OPSWAP_DEVICE JoinedStates(const AttentionCall<T> &call, const TokenHead &row, float own_lse) : lse(own_lse) {
    if (!call.other.data) return;
    most = own_lse;
    for (int part = 0; part < call.states; ++part) most = fmaxf(most, lse_of(call, row, part));
    if (most == -INFINITY) return;
    float total = expf(own_lse - most);
    for (int part = 0; part < call.states; ++part) total += expf(lse_of(call, row, part) - most);
    shrink = 1 / total, own = expf(own_lse - most) * shrink, lse = most + logf(total);
  }
  template <class T>
  OPSWAP_DEVICE static float lse_of(const AttentionCall<T> &call, const TokenHead &row, int part) {
    return load<1>(call.other_lse.data + row.in(call.other_lse) + part * call.lse_part)[0];
  }
  // Of a part of the other keys.
  template <class T>
  OPSWAP_DEVICE float share(const AttentionCall<T> &call, const TokenHead &row, int part) const {
    return most == -INFINITY ? 0 : expf(lse_of(call, row, part) - most) * shrink;
  }
};

// Features [at, at + N) of a row with those of the other keys' states; a part without keys has zeros.
template <class T, int N>
OPSWAP_DEVICE Vec<float, N> joined_row(const AttentionCall<T> &call, const TokenHead &row, int at,
                                       const JoinedStates &joined, Vec<float, N> x) {
  if (!call.other.data) return x;
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] *= joined.own;
#pragma unroll 4
  for (int part = 0; part < call.states; ++part) {
    const float share = joined.share(call, row, part);
    const Vec<float, N> other = load<N>(call.other.data + row.in(call.other) + part * call.state_part + at);
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] += other[i] * share;
  }
  return x;
}

// Writes them, or the state of a part of the keys.
template <class T, int N>
OPSWAP_DEVICE void store_row(const AttentionCall<T> &call, const TokenHead &row, int at, const Vec<float, N> &x,
                             int part = 0) {
  if (call.state.data)
    store(call.state.data + row.in(call.state) + part * call.state_part + at, x);
  else
    store(call.out.data + row.in(call.out) + at, from_float<T>(x));
}

}  // namespace opswap
