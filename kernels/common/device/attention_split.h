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

// The lengths that a plan is of.
struct AttentionLengths {
  Vector<int32_t> seq_lens, query_start_loc;  // the latter none where each sequence has q_len tokens
  int sequences;
};

// The least payload, found by all threads at once: each tries one of the payloads that may be it, evenly spaced, until
// one is left.
template <class Units>
OPSWAP_DEVICE int64_t least_payload(int32_t *found, int bins, int sequences, bool whole, Units &&units) {
  const int thread = int(threadIdx.x), warp = thread / device::kWarp;
  attention::Payloads between = attention::payloads(sequences, whole, units);
  while (between.low < between.high) {
    const int64_t step = (between.high - between.low + kAttentionPlanThreads - 1) / kAttentionPlanThreads;
    const int64_t own = between.low + thread * step;
    const bool fit = own >= between.high || attention::fits(bins, own, sequences, whole, units);
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

// One block writes the record.
OPSWAP_DEVICE void plan_attention(int32_t *words, int32_t *found, const AttentionLengths &lengths,
                                  const AttentionPlanOf &of) {
  sm90::dependency_wait();
  sm90::dependency_trigger();
  const auto units = [&](int sequence) {
    const Vector<int32_t> &starts = lengths.query_start_loc;
    const int tokens = starts.data ? starts[sequence + 1] - starts[sequence] : of.q_len;
    return attention::units_of(lengths.seq_lens[sequence], tokens, of);
  };
  const int bins = attention::bins_of(of.sms, of.num_heads, of.num_kv_heads, of.q_len);
  const int64_t payload = least_payload(found, bins, lengths.sequences, of.batch_invariant, units);
  if (threadIdx.x == 0)
    attention::write_plan(of, bins, payload, lengths.sequences, units,
                          [&](int64_t at, int32_t word) { store(words + at, Vec<int32_t, 1>{word}); });
}

// A plan, and parts of sequences: normalised sums and their log-sum-exp, [parts, few_tokens, heads, features] and
// [parts, few_tokens, heads].
struct AttentionParts {
  const int32_t *plan;
  float *sums, *lse;
  int heads, room;  // parts that there is memory for
  bool batch_invariant;

  OPSWAP_DEVICE int word(int64_t at) const { return load<1>(plan + at)[0]; }
  OPSWAP_DEVICE int bins() const { return word(1); }
  OPSWAP_DEVICE attention::Place place(int bin) const {
    const int64_t at = kAttentionPlanHeader + kAttentionPlanPlace * bin;
    return {word(at), word(at + 1), word(at + 2)};
  }
  // Parts of the sequences before one.
  OPSWAP_DEVICE int rows_before(int sequence) const { return word(kAttentionRowsAt + sequence); }

  // What a plan of the call says of it, but for the card.
  template <class T>
  OPSWAP_DEVICE AttentionPlanOf of(const AttentionCall<T> &call) const {
    return {heads,
            heads / call.group,
            call.few_tokens,
            call.sliding_window,
            0,
            0,
            batch_invariant,
            bool(call.query_start_loc.data)};
  }
  // Whether the plan is of such a call. With another one no key is read, and merge_parts makes its rows NaN.
  template <class T>
  OPSWAP_DEVICE bool fits(const AttentionCall<T> &call) const {
    const AttentionPlanOf own = of(call);
    return word(0) == kAttentionPlanVersion && word(2) == call.sequences && word(4) <= room &&
           uint32_t(bins()) <= uint32_t(kAttentionMostBins) && word(5) == own.num_heads &&
           word(6) == own.num_kv_heads && word(7) == own.q_len && word(8) == own.sliding_window &&
           word(11) >= own.batch_invariant && word(12) == own.mixed;
  }
  // Of a row of a task's tile, in a part.
  template <class T>
  OPSWAP_DEVICE int64_t row(int part, const AttentionCall<T> &call, const AttentionTask &task, int at) const {
    const int token = call.by_group(task.first_row + at);
    return (int64_t(part) * call.few_tokens + token) * heads + head_of(call, task, at);
  }
};

// A warp puts the parts of one head of one token together; those of one part are there already. A plan that is not of
// the call gives NaN, since a host cannot see it.
template <int Head, class T>
OPSWAP_DEVICE void merge_parts(const AttentionCall<T> &call, const AttentionParts &parts, int sequence, int token,
                               int head) {
  constexpr int kRun = Head / device::kWarp, kVector = kRun < 4 ? kRun : 4;
  const int lane = int(threadIdx.x) % device::kWarp;
  int first_token = 0;
  const int tokens = tokens_of(call, sequence, first_token);
  if (token >= tokens || tokens > call.few_tokens) return;
  const auto put = [&](const Vec<float, kRun> &x, float lse) {
    const TokenHead to{int64_t(first_token + token), head};
    const JoinedStates joined(call, to, lse);
#pragma unroll
    for (int i = 0; i < kRun; i += kVector) {
      Vec<float, kVector> some;
#pragma unroll
      for (int k = 0; k < kVector; ++k) some[k] = x[i + k];
      const int from = lane * kRun + i;
      if (lane * kRun < call.value_features) store_row(call, to, from, joined_row(call, to, from, joined, some));
    }
    if (call.lse.data && lane == 0) store(call.lse.data + to.in(call.lse), Vec<float, 1>{{joined.lse}});
  };
  if (!parts.fits(call)) {
    Vec<float, kRun> none;
#pragma unroll
    for (int i = 0; i < kRun; ++i) none[i] = NAN;
    return put(none, NAN);
  }
  const int first = parts.rows_before(sequence), end = parts.rows_before(sequence + 1);
  if (first == end) return;
  const auto at = [&](int part) { return (int64_t(part) * call.few_tokens + token) * parts.heads + head; };
  const float sink = call.sinks.at(head, -INFINITY);
  float most = sink;
  for (int part = first; part < end; ++part) most = fmaxf(most, load<1>(parts.lse + at(part))[0]);
  const float from = most == -INFINITY ? 0 : most;
  float total = expf(sink - from);
  Vec<float, kRun> sum{};
  for (int part = first; part < end; ++part) {
    const float weight = expf(load<1>(parts.lse + at(part))[0] - from);
    Vec<float, kRun> x;
#pragma unroll
    for (int i = 0; i < kRun; i += kVector) {
      const Vec<float, kVector> some = load<kVector>(parts.sums + at(part) * Head + lane * kRun + i);
#pragma unroll
      for (int k = 0; k < kVector; ++k) x[i + k] = some[k];
    }
    total += weight;
#pragma unroll
    for (int i = 0; i < kRun; ++i) sum[i] += weight * x[i];
  }
  const float share = total == 0 ? 0 : 1 / total;
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum[i] *= share;
  put(sum, total == 0 ? -INFINITY : most + logf(total));
}

}  // namespace opswap
