// What stands before and behind attention of a few rows that is cut over blocks: the plan, made by one block from
// lengths that only the device knows, and the sums of parts put together.
#pragma once

#include "common/device/attention_plan.h"
#include "common/device/attention_rows.h"
#include "common/device/attention_softmax.h"
#include "common/sm90/pdl.h"

namespace opswap {

constexpr int kAttentionPlanThreads = 256;
struct AttentionPlanning {
  int32_t found[kAttentionPlanThreads / device::kWarp];  // by a warp: the first of its threads whose payload fits
};

// Tiles of `Keys` keys of which a sequence's newest token sees any.
template <int Keys, class T>
OPSWAP_DEVICE int tiles_of(const AttentionCall<T> &call, int sequence) {
  const int length = call.seq_lens[sequence];
  const SeenKeys keys = seen_keys(call, length - 1, length);
  return keys.last > keys.first ? (keys.last + Keys - 1) / Keys - keys.first / Keys : 0;
}

// The least payload, found by all threads at once: each tries one of the payloads that may be it, evenly spaced, until
// one is left.
template <class Tiles>
OPSWAP_DEVICE int64_t least_payload(int32_t *found, int bins, int sequences, Tiles &&tiles) {
  const int thread = int(threadIdx.x), warp = thread / device::kWarp;
  attention::Payloads between = attention::payloads(sequences, tiles);
  while (between.low < between.high) {
    const int64_t step = (between.high - between.low + kAttentionPlanThreads - 1) / kAttentionPlanThreads;
    const int64_t own = between.low + thread * step;
    const bool fit = own >= between.high || attention::fits(bins, own, sequences, tiles);
    const unsigned fitting = __ballot_sync(device::kAllLanes, fit);
    if (thread % device::kWarp == 0)
      store_shared(found + warp, Vec<int32_t, 1>{fitting ? thread + __ffs(int(fitting)) - 1 : kAttentionPlanThreads});
    __syncthreads();
    int first = kAttentionPlanThreads;
    for (int w = 0; w < kAttentionPlanThreads / device::kWarp; ++w) {
      const int of_warp = load_shared<1>(found + w)[0];
      first = of_warp < first ? of_warp : first;
    }
    __syncthreads();
    const int64_t at = between.low + first * step;
    between = {first ? at - step + 1 : between.low, at < between.high ? at : between.high};
  }
  return between.high;
}

template <int Keys, class T>
OPSWAP_DEVICE void plan_attention(int32_t *words, int32_t *found, const AttentionCall<T> &call, int bins) {
  sm90::dependency_wait();
  sm90::dependency_trigger();
  const auto tiles = [&](int sequence) { return tiles_of<Keys>(call, sequence); };
  const int64_t payload = least_payload(found, bins, call.sequences, tiles);
  if (threadIdx.x == 0)
    attention::write_plan(bins, payload, call.sequences, tiles,
                          [&](int64_t at, int32_t word) { store(words + at, Vec<int32_t, 1>{word}); });
}

// Parts of sequences: normalised sums and their log-sum-exp, [rows, heads, features] and [rows, heads].
struct AttentionParts {
  const int32_t *plan;
  float *sums, *lse;
  int bins, heads;

  OPSWAP_DEVICE int word(int64_t at) const { return load<1>(plan + at)[0]; }
  OPSWAP_DEVICE attention::Place place(int bin) const {
    const int64_t at = kAttentionPlanHeader + kAttentionPlanPlace * bin;
    return {word(at), word(at + 1), word(at + 2)};
  }
  // Partial rows of the sequences before one.
  OPSWAP_DEVICE int rows_before(int sequence) const {
    return word(kAttentionPlanHeader + kAttentionPlanPlace * (bins + 1) + sequence);
  }
};

// A warp puts the parts of one head of one sequence together; those of one part are there already.
template <int Head, class T>
OPSWAP_DEVICE void merge_parts(const AttentionCall<T> &call, const AttentionParts &parts, int sequence, int head) {
  constexpr int kRun = Head / device::kWarp;
  const int lane = int(threadIdx.x) % device::kWarp;
  const int first = parts.rows_before(sequence), end = parts.rows_before(sequence + 1);
  if (first == end) return;
  float most = -INFINITY, total = 0;
  for (int row = first; row < end; ++row) most = fmaxf(most, load<1>(parts.lse + int64_t(row) * parts.heads + head)[0]);
  const float from = most == -INFINITY ? 0 : most;
  Vec<float, kRun> sum{};
  for (int row = first; row < end; ++row) {
    const int64_t at = int64_t(row) * parts.heads + head;
    const float weight = expf(load<1>(parts.lse + at)[0] - from);
    const Vec<float, kRun> x = load<kRun>(parts.sums + at * Head + lane * kRun);
    total += weight;
#pragma unroll
    for (int i = 0; i < kRun; ++i) sum[i] += weight * x[i];
  }
  const float share = total == 0 ? 0 : 1 / total;
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum[i] *= share;
  const auto place = [&](const auto &rows) { return rows.data + sequence * rows.token + head * rows.head; };
  store(place(call.out) + lane * kRun, from_float<T>(sum));
  if (call.lse.data && lane == 0) store(place(call.lse), Vec<float, 1>{{total == 0 ? -INFINITY : most + logf(total)}});
}

}  // namespace opswap
