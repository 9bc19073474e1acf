// Which rows of queries a block of attention takes: tiles of the sequences that have many, in the order of
// attention_order.h.
#pragma once

#include "common/device/attention_order.h"
#include "common/device/attention_rows.h"

namespace opswap {

// A sequence's rows, where they are more than the kernel of few rows takes, in tiles.
struct SequenceTiles {
  int first_token, rows, tiles;
};
template <int Rows, class T>
OPSWAP_DEVICE SequenceTiles tiles_of_sequence(const AttentionCall<T> &call, int sequence) {
  if (sequence >= call.sequences) return {};
  SequenceTiles of{};
  const int tokens = tokens_of(call, sequence, of.first_token);
  of.rows = tokens > call.few_tokens ? tokens * call.group : 0;
  of.tiles = (of.rows + Rows - 1) / Rows;
  return of;
}

// body(lane's sequence, its tiles, tiles up to and with it among the warp's, tiles of all the warp's) for a warp's
// sequences after the other, until it returns true.
template <int Rows, class T, class Body>
OPSWAP_DEVICE void each_sequence(const AttentionCall<T> &call, Body &&body) {
  const int lane = int(threadIdx.x) % device::kWarp;
  for (int from = 0; from < call.sequences; from += device::kWarp) {
    const SequenceTiles of = tiles_of_sequence<Rows>(call, from + lane);
    int up_to = of.tiles;
#pragma unroll
    for (int distance = 1; distance < device::kWarp; distance *= 2) {
      const int other = __shfl_up_sync(device::kAllLanes, up_to, unsigned(distance));
      up_to += lane >= distance ? other : 0;
    }
    if (body(from + lane, of, up_to, __shfl_sync(device::kAllLanes, up_to, device::kWarp - 1))) return;
  }
}

// Tiles of all sequences, for one head of keys.
template <int Rows, class T>
OPSWAP_DEVICE int tiles_of_all(const AttentionCall<T> &call) {
  int all = 0;
  each_sequence<Rows>(call, [&](int, const SequenceTiles &, int, int of_warp) {
    all += of_warp;
    return false;
  });
  return all;
}

// The task that a block takes as its own `number`, the same for all lanes of a warp; `all` tiles are those of one head
// of keys. A sequence's last tile sees most keys.
template <int Rows, class T>
OPSWAP_DEVICE AttentionTask attention_task(const AttentionCall<T> &call, int number, int all, int kv_heads) {
  const TaskOrder order{int(gridDim.x), all * kv_heads, call.causal && call.sliding_window <= 0};
  const int kv_head = order.place(number) / all;
  number = order.place(number) % all;
  AttentionTask task{};
  each_sequence<Rows>(call, [&](int sequence, const SequenceTiles &of, int up_to, int of_warp) {
    if (number >= of_warp) {
      number -= of_warp;
      return false;
    }
    const int at = __ffs(int(__ballot_sync(device::kAllLanes, up_to > number))) - 1;
    task.sequence = __shfl_sync(device::kAllLanes, sequence, at), task.kv_head = kv_head;
    task.first_token = __shfl_sync(device::kAllLanes, of.first_token, at);
    const int tiles = __shfl_sync(device::kAllLanes, of.tiles, at);
    const int own = number + tiles - __shfl_sync(device::kAllLanes, up_to, at);
    task.first_row = (tiles - 1 - order.tile(own, tiles)) * Rows;
    const int rows = __shfl_sync(device::kAllLanes, of.rows, at);
    task.rows = rows - task.first_row < Rows ? rows - task.first_row : Rows;
    task.length = length_of(call, task.sequence);
    task.position = task.length - call.by_group(rows);
    task.first_key = seen_of_row(call, task, 0).first;
    task.last_key = seen_of_row(call, task, task.rows - 1).last;
    return true;
  });
  return task;
}

}  // namespace opswap
