// What a call of attention is made of: queries of sequences of any length, and keys and values in pages. The query
// heads that share a head of keys are rows of one matrix: of a sequence row r is head r % group of token r / group.
#pragma once

#include "common/device/vec.h"
#include "types.h"

namespace opswap {

// [NB, KH, BS, features], in elements; the features of a slot lie side by side.
template <class T>
struct PagedRows {
  const T *data;
  int64_t block, head, slot;
};
template <class T>
inline PagedRows<T> paged_rows(const Tensor &t) {
  return {t.as<const T>(), t.stride[0], t.stride[1], t.stride[2]};
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

// A vector of int32.
struct Counts {
  const int32_t *data;
  int64_t stride;
  OPSWAP_DEVICE int operator[](int64_t i) const { return load<1>(data + i * stride)[0]; }
};
inline Counts counts_of(const Tensor &t) { return {t.as<const int32_t>(), t.stride[0]}; }

template <class T>
struct AttentionCall {
  HeadRows<const T> query;
  HeadRows<T> out;
  HeadRows<float> lse;  // or none
  PagedRows<T> keys, values;
  const int32_t *block_table;  // [sequences, MB]
  int64_t table_row, table_column;
  Counts query_start_loc, seq_lens;  // the former none where each sequence has one token
  int sequences, group, block_size;
  int64_t sliding_window;
  bool causal;
  float softmax_scale, softcap;
};

// A block's part of it: rows [first_row, first_row + rows) of a sequence, and the keys that any of them sees.
struct AttentionTask {
  int sequence, kv_head, first_token, first_row, rows, position;  // of the sequence's first new token
  int first_key, last_key, length;
};

// The keys that a token at `position` of a sequence sees: [first, last).
struct SeenKeys {
  int first, last;
};
template <class T>
OPSWAP_DEVICE SeenKeys seen_keys(const AttentionCall<T> &call, int position, int length) {
  const int64_t first = call.sliding_window > 0 ? int64_t(position) + 1 - call.sliding_window : 0;
  return {first > 0 ? int(first) : 0, call.causal && position + 1 < length ? position + 1 : length};
}

// Rows that a sequence has, and its first token.
template <class T>
OPSWAP_DEVICE int rows_of(const AttentionCall<T> &call, int sequence, int &first_token) {
  first_token = sequence;
  if (!call.query_start_loc.data) return call.group;
  first_token = call.query_start_loc[sequence];
  return (call.query_start_loc[sequence + 1] - first_token) * call.group;
}

// Tile `number` of `Rows` rows of all sequences, the same for all lanes of a warp; without rows where there are fewer.
template <int Rows, class T>
OPSWAP_DEVICE AttentionTask attention_task(const AttentionCall<T> &call, int number, int kv_head) {
  const int lane = int(threadIdx.x) % device::kWarp;
  AttentionTask task{};
  for (int from = 0; from < call.sequences; from += device::kWarp) {
    int first_token = 0;
    const int rows = from + lane < call.sequences ? rows_of(call, from + lane, first_token) : 0;
    const int tiles = (rows + Rows - 1) / Rows;
    int up_to = tiles;
#pragma unroll
    for (int distance = 1; distance < device::kWarp; distance *= 2) {
      const int other = __shfl_up_sync(device::kAllLanes, up_to, unsigned(distance));
      up_to += lane >= distance ? other : 0;
    }
    const int all = __shfl_sync(device::kAllLanes, up_to, device::kWarp - 1);
    if (number >= all) {
      number -= all;
      continue;
    }
    const unsigned behind = __ballot_sync(device::kAllLanes, up_to > number);
    const int at = __ffs(int(behind)) - 1;
    task.sequence = from + at, task.kv_head = kv_head;
    task.first_token = __shfl_sync(device::kAllLanes, first_token, at);
    task.first_row = (number - __shfl_sync(device::kAllLanes, up_to - tiles, at)) * Rows;
    const int all_rows = __shfl_sync(device::kAllLanes, rows, at);
    task.rows = all_rows - task.first_row < Rows ? all_rows - task.first_row : Rows;
    task.length = call.seq_lens[task.sequence];
    task.position = task.length - all_rows / call.group;
    const int first = task.position + task.first_row / call.group;
    const int last = task.position + (task.first_row + task.rows - 1) / call.group;
    task.first_key = seen_keys(call, first, task.length).first;
    task.last_key = seen_keys(call, last, task.length).last;
    return task;
  }
  return task;
}

// Where a row of a task's tile lies.
template <class T, class E>
OPSWAP_DEVICE int64_t place_of(const AttentionCall<T> &call, const HeadRows<E> &rows, const AttentionTask &task,
                               int row) {
  const int64_t token = task.first_token + (task.first_row + row) / call.group;
  const int64_t head = int64_t(task.kv_head) * call.group + (task.first_row + row) % call.group;
  return token * rows.token + head * rows.head;
}

}  // namespace opswap
