// cascade_attention on a CPU: attention of all rows over the shared prefix, of each sequence's rows over its own keys,
// and the two put together. No arithmetic of its own: it calls the three ops through the registry.
#include "cascade_attention.gen.h"

#include "common/attend_plain.h"
#include "common/op.h"
#include "common/sub_call.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(cascade_attention) {
  constexpr const char *kOp = "cascade_attention";
  if (a.prefix_len > a.PM * a.BS)
    return fail(OPSWAP_E_VALUE, "%s: prefix_len is %lld, needs 0 to %lld (PM * BS of prefix_block_table)", kOp,
                (long long)a.prefix_len, (long long)(a.PM * a.BS));
  for (int64_t i = 0; i * a.BS < a.prefix_len; ++i) {
    const int32_t block = row<int32_t>(a.prefix_block_table, 0)[i];
    if (block < 0 || block >= a.NB)
      return fail(OPSWAP_E_VALUE, "%s: prefix_block_table[0][%lld] is %d, needs 0 to %lld (NB - 1)", kOp, (long long)i,
                  block, (long long)(a.NB - 1));
  }
  if (opswap_status e = check_batch(a, kOp)) return e;
  if (opswap_status e = check_max_query_len(a, kOp)) return e;
  return check_mixed_plan(a, kOp);
}

// Where keys lie: those of the prefix, then a sequence's own.
struct CascadeSlots {
  Slots prefix, own;
  int64_t prefix_len;
  template <class E>
  const E *at(const Tensor &cache, int64_t position, int64_t head) const {
    return position < prefix_len ? prefix.at<E>(cache, position, head) : own.at<E>(cache, position - prefix_len, head);
  }
};

OPSWAP_REF(cascade_attention) {
  return with_cache_type(a, [&]<class E, class C>(E, C) {
    for (int64_t b = 0; b < a.B; ++b) {
      const CascadeSlots slots{{row<int32_t>(a.prefix_block_table, 0), 0, a.BS}, slots_of(a, b), a.prefix_len};
      const RowRange rows = rows_of(a, b);
      const int64_t length = index_at(a.seq_lens, b);
      for (int64_t t = rows.begin; t < rows.end; ++t) {
        const int64_t own = visible(length - rows.end + t, length, a.causal, -1).last;
        for (int64_t h = 0; h < a.QH; ++h) attend_plain<E, C>(a, slots, t, h, {0, a.prefix_len + (own > 0 ? own : 0)});
      }
    }
    return opswap_status{OPSWAP_OK};
  });
}

// A contiguous tensor of scratch memory; `strides` follow from the shape.
struct Made {
  Tensor view;
  int64_t shape[4], stride[4];

  Made(void *data, DType dtype, std::initializer_list<int64_t> sizes) {
    int32_t ndim = 0;
    for (int64_t size : sizes) shape[ndim++] = size;
    int64_t step = 1;
    for (int32_t d = ndim; d-- > 0; step *= shape[d]) stride[d] = step;
    view.data = data, view.shape = shape, view.stride = stride, view.ndim = ndim, view.dtype = dtype;
  }
  Made(const Made &) = delete;
};

// The rows of the call, and what each half of the keys gives for them.
struct Halves {
  RowRange rows;
  const Made &prefix, &prefix_lse, &own, &own_lse;
};

// Every row sees the whole prefix, so that all of them are one sequence.
static opswap_status run_prefix(const cascade_attention_args &a, const Halves &to, const opswap_exec &exec) {
  int32_t starts[] = {0, int32_t(to.rows.count())}, length[] = {int32_t(a.prefix_len)};
  const Made query_start_loc(starts, DType::int32, {2}), seq_lens(length, DType::int32, {1});
  SubCall call("attention_prefill", a);
  call.tensor(to.prefix.view).tensor(to.prefix_lse.view);
  call.tensor(slice(a.query, to.rows.begin, to.rows.count())).tensor(a.key_cache).tensor(a.value_cache);
  call.tensor(a.prefix_block_table).tensor(Tensor{}).tensor(query_start_loc.view).tensor(seq_lens.view);
  call.tensor(a.k_scale).tensor(a.v_scale).tensor(a.k_scale_cache).tensor(a.v_scale_cache);
  call.tensor(Tensor{});  // sinks count once, beside the own keys
  call.real(a.softmax_scale).boolean(false).integer(-1).real(a.softcap);
  return call.boolean(a.batch_invariant).boolean(false).boolean(false).run(exec);
}

static opswap_status run_own(const cascade_attention_args &a, const Halves &to, const opswap_exec &exec) {
  SubCall call("paged_attention", a);
  call.tensor(to.own.view).tensor(to.own_lse.view).tensor(a.query).tensor(a.key_cache).tensor(a.value_cache);
  call.tensor(a.block_table).tensor(a.query_start_loc).tensor(a.seq_lens);
  call.tensor(a.k_scale).tensor(a.v_scale).tensor(a.k_scale_cache).tensor(a.v_scale_cache).tensor(a.sinks);
  call.tensor(a.plan).real(a.softmax_scale).integer(a.max_query_len).boolean(a.causal).integer(-1).real(a.softcap);
  return call.boolean(a.batch_invariant).boolean(false).run(exec);
}

static opswap_status run_merge(const cascade_attention_args &a, const Halves &of, const opswap_exec &exec) {
  const int64_t first = of.rows.begin, count = of.rows.count();
  const Made states(of.prefix.view.data, a.scalar_dtype, {1, count, a.QH, a.V});
  const Made states_lse(of.prefix_lse.view.data, DType::float32, {1, count, a.QH});
  SubCall call("attention_merge", a);
  call.tensor(slice(a.out, first, count)).tensor(slice(a.lse, first, count)).tensor(states.view);
  call.tensor(states_lse.view).tensor(slice(of.own.view, first, count)).tensor(slice(of.own_lse.view, first, count));
  return call.run(exec);
}

OPSWAP_COMPOSED(cascade_attention) {
  constexpr int kSlot = 3;  // the lower ops take the others
  const RowRange rows{index_at(a.query_start_loc, 0), index_at(a.query_start_loc, a.B)};
  if (!rows.count()) return OPSWAP_OK;
  const int64_t heads = a.T * a.QH, halves = heads * (a.V * dtype_bytes(a.scalar_dtype) + int64_t(sizeof(float)));
  char *memory = static_cast<char *>(scratch(kSlot, size_t(2 * halves + 64)));
  if (!memory) return fail(OPSWAP_E_MEMORY, "cascade_attention: no memory for %lld rows", (long long)a.T);
  float *lse = reinterpret_cast<float *>(memory);
  char *values = memory + 2 * heads * int64_t(sizeof(float));
  const Made prefix_lse(lse, DType::float32, {rows.count(), a.QH}), own_lse(lse + heads, DType::float32, {a.T, a.QH});
  const Made prefix(values, a.scalar_dtype, {rows.count(), a.QH, a.V});
  const Made own(values + heads * a.V * dtype_bytes(a.scalar_dtype), a.scalar_dtype, {a.T, a.QH, a.V});
  const Halves both{rows, prefix, prefix_lse, own, own_lse};
  if (opswap_status e = run_prefix(a, both, exec)) return e;
  if (opswap_status e = run_own(a, both, exec)) return e;
  return run_merge(a, both, exec);
}

}  // namespace opswap::OPSWAP_ISA
