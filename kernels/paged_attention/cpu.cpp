// paged_attention on a CPU: attention of a batch of decode and prefill rows. No arithmetic of its own: it calls
// attention_decode and attention_prefill through the registry.
#include "paged_attention.gen.h"

#include "common/op.h"
#include "common/paged.h"
#include "common/sub_call.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(paged_attention) { return check_batch(a, "paged_attention"); }

OPSWAP_REF(paged_attention) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t b = 0; b < a.B; ++b) {
      const int64_t begin = index_at(a.query_start_loc, b), end = index_at(a.query_start_loc, b + 1);
      const int64_t length = index_at(a.seq_lens, b), offset = length - (end - begin);
      for (int64_t t = begin; t < end; ++t)
        for (int64_t h = 0; h < a.QH; ++h)
          attend_plain<E>(a, row<E>(a.query, t) + h * a.query.stride[1], row<int32_t>(a.block_table, b),
                          h / (a.QH / a.KH), visible(offset + t - begin, length, a.causal, a.sliding_window),
                          row<E>(a.out, t) + h * a.out.stride[1],
                          a.lse ? row<float>(a.lse, t) + h * a.lse.stride[1] : nullptr);
    }
    return opswap_status{OPSWAP_OK};
  });
}

// Sequences [first, last) of one kind: decode (one row each) or prefill.
struct Run {
  int64_t first, last;
  bool decode;
};

static Run next_run(const paged_attention_args &a, int64_t b) {
  const auto decode = [&](int64_t i) {
    return a.causal && index_at(a.query_start_loc, i + 1) - index_at(a.query_start_loc, i) == 1;
  };
  Run run{b, b + 1, decode(b)};
  while (run.last < a.B && decode(run.last) == run.decode) ++run.last;
  return run;
}

static opswap_status run_decode(const paged_attention_args &a, Run r, const opswap_exec &exec) {
  const int64_t t = index_at(a.query_start_loc, r.first), n = r.last - r.first;
  SubCall call("attention_decode", a);
  call.tensor(slice(a.out, t, n)).tensor(slice(a.lse, t, n)).tensor(slice(a.query, t, n));
  call.tensor(a.key_cache).tensor(a.value_cache);
  call.tensor(slice(a.block_table, r.first, n)).tensor(slice(a.seq_lens, r.first, n));
  return call.real(a.softmax_scale).integer(a.sliding_window).real(a.softcap).run(exec);
}

static opswap_status run_prefill(const paged_attention_args &a, Run r, const opswap_exec &exec) {
  const int64_t n = r.last - r.first;
  SubCall call("attention_prefill", a);
  call.tensor(a.out).tensor(a.lse).tensor(a.query).tensor(a.key_cache).tensor(a.value_cache);
  call.tensor(slice(a.block_table, r.first, n)).tensor(slice(a.query_start_loc, r.first, n + 1));
  call.tensor(slice(a.seq_lens, r.first, n));
  return call.real(a.softmax_scale).boolean(a.causal).integer(a.sliding_window).real(a.softcap).run(exec);
}

OPSWAP_COMPOSED(paged_attention) {
  for (int64_t b = 0; b < a.B;) {
    const Run r = next_run(a, b);
    if (opswap_status e = r.decode ? run_decode(a, r, exec) : run_prefill(a, r, exec)) return e;
    b = r.last;
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
