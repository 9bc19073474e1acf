#include "attention_prefill.gen.h"

#include "common/attend.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(attention_prefill) { return check_batch(a, "attention_prefill"); }

// body(b, t, h, keys): every query row t of sequence b and query head h, with the keys that it sees.
template <class Body>
static void for_rows(const attention_prefill_args &a, int64_t b, int64_t h, Body &&body) {
  const int64_t begin = index_at(a.query_start_loc, b), end = index_at(a.query_start_loc, b + 1);
  const int64_t length = index_at(a.seq_lens, b), offset = length - (end - begin);
  for (int64_t t = begin; t < end; ++t) body(t, visible(offset + t - begin, length, a.causal, a.sliding_window));
}

OPSWAP_REF(attention_prefill) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t b = 0; b < a.B; ++b)
      for (int64_t h = 0; h < a.QH; ++h)
        for_rows(a, b, h, [&](int64_t t, KeyRange keys) {
          attend_plain<E>(a, row<E>(a.query, t) + h * a.query.stride[1], row<int32_t>(a.block_table, b), h / (a.QH / a.KH),
                          keys, row<E>(a.out, t) + h * a.out.stride[1],
                          a.lse ? row<float>(a.lse, t) + h * a.lse.stride[1] : nullptr);
        });
    return opswap_status{OPSWAP_OK};
  });
}

OPSWAP_CPU(attention_prefill) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.B * a.QH, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / a.QH, h = i % a.QH;
        float *scores = static_cast<float *>(scratch(0, size_t(index_at(a.seq_lens, b) + a.V) * sizeof(float)));
        for_rows(a, b, h, [&](int64_t t, KeyRange keys) {
          attend<E>(a, row<E>(a.query, t) + h * a.query.stride[1], row<int32_t>(a.block_table, b), h / (a.QH / a.KH), keys,
                    row<E>(a.out, t) + h * a.out.stride[1], a.lse ? row<float>(a.lse, t) + h * a.lse.stride[1] : nullptr,
                    scores + a.V, scores);
        });
      }
    });
    return opswap_status{OPSWAP_OK};
  });
}

}  // namespace opswap::OPSWAP_ISA
