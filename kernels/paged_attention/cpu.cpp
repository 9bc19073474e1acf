// paged_attention on a CPU: attention of a batch of decode and prefill rows. No arithmetic of its own: it calls
// attention_decode and attention_prefill through the registry.
#include "paged_attention.gen.h"

#include "common/attend_plain.h"
#include "common/op.h"
#include "common/sub_call.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(paged_attention) {
  constexpr const char *kOp = "paged_attention";
  if (opswap_status e = check_batch(a, kOp)) return e;
  if (opswap_status e = check_max_query_len(a, kOp)) return e;
  return check_mixed_plan(a, kOp);
}

OPSWAP_REF(paged_attention) {
  return with_cache_type(a, [&]<class E, class C>(E, C) {
    for (int64_t b = 0; b < a.B; ++b)
      attend_plain_rows<E, C>(a, slots_of(a, b), rows_of(a, b), index_at(a.seq_lens, b), a.causal);
    return opswap_status{OPSWAP_OK};
  });
}

// Sequences [first, last) of one kind: decode, of q_len rows each, or prefill, for which it is 0. It depends on a
// sequence alone, so that batch_invariant is kept.
struct Run {
  int64_t first, last, q_len;
};

static Run next_run(const paged_attention_args &a, int64_t b) {
  const auto decoded = [&](int64_t i) -> int64_t {
    const int64_t rows = index_at(a.query_start_loc, i + 1) - index_at(a.query_start_loc, i);
    return a.causal && rows <= 8 ? rows : 0;
  };
  Run run{b, b + 1, decoded(b)};
  while (run.last < a.B && decoded(run.last) == run.q_len) ++run.last;
  return run;
}

// Scales and sinks, the same for all sequences.
static SubCall &pack_options(SubCall &call, const paged_attention_args &a) {
  call.tensor(a.k_scale).tensor(a.v_scale).tensor(a.k_scale_cache).tensor(a.v_scale_cache);
  return call.tensor(a.sinks);
}

static opswap_status run_decode(const paged_attention_args &a, Run r, const opswap_exec &exec) {
  const int64_t t = index_at(a.query_start_loc, r.first), sequences = r.last - r.first, n = sequences * r.q_len;
  SubCall call("attention_decode", a);
  call.tensor(slice(a.out, t, n)).tensor(slice(a.lse, t, n)).tensor(slice(a.query, t, n));
  call.tensor(a.key_cache).tensor(a.value_cache);
  call.tensor(slice(a.block_table, r.first, sequences)).tensor(slice(a.seq_lens, r.first, sequences));
  pack_options(call, a).tensor(Tensor{});  // the plan is of the whole batch, not of this run
  call.real(a.softmax_scale).integer(r.q_len).integer(a.sliding_window).real(a.softcap);
  return call.boolean(a.batch_invariant).run(exec);
}

static opswap_status run_prefill(const paged_attention_args &a, Run r, const opswap_exec &exec) {
  const int64_t n = r.last - r.first;
  SubCall call("attention_prefill", a);
  call.tensor(a.out).tensor(a.lse).tensor(a.query).tensor(a.key_cache).tensor(a.value_cache);
  call.tensor(slice(a.block_table, r.first, n)).tensor(Tensor{});
  call.tensor(slice(a.query_start_loc, r.first, n + 1)).tensor(slice(a.seq_lens, r.first, n));
  pack_options(call, a).real(a.softmax_scale).boolean(a.causal).integer(a.sliding_window).real(a.softcap);
  return call.boolean(a.batch_invariant).boolean(a.fp8_products).boolean(false).run(exec);
}

OPSWAP_COMPOSED(paged_attention) {
  for (int64_t b = 0; b < a.B;) {
    const Run r = next_run(a, b);
    if (opswap_status e = r.q_len ? run_decode(a, r, exec) : run_prefill(a, r, exec)) return e;
    b = r.last;
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
