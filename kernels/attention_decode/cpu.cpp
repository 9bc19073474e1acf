#include "attention_decode.gen.h"

#include "common/attend.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(attention_decode) {
  for (int64_t b = 0; b < a.B; ++b)
    if (opswap_status e = check_sequence(a, "attention_decode", b)) return e;
  return OPSWAP_OK;
}

// Keys that the one query of sequence b sees: it stands at the end.
static KeyRange keys_of(const attention_decode_args &a, int64_t b) {
  const int64_t length = index_at(a.seq_lens, b);
  return visible(length - 1, length, true, a.sliding_window);
}

template <class E>
static float *lse_of(const attention_decode_args &a, int64_t b, int64_t h) {
  return a.lse ? row<float>(a.lse, b) + h * a.lse.stride[1] : nullptr;
}

OPSWAP_REF(attention_decode) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t b = 0; b < a.B; ++b)
      for (int64_t h = 0; h < a.QH; ++h)
        attend_plain<E>(a, row<E>(a.query, b) + h * a.query.stride[1], row<int32_t>(a.block_table, b), h / (a.QH / a.KH),
                        keys_of(a, b), row<E>(a.out, b) + h * a.out.stride[1], lse_of<E>(a, b, h));
    return opswap_status{OPSWAP_OK};
  });
}

OPSWAP_CPU(attention_decode) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.B * a.QH, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / a.QH, h = i % a.QH;
        float *scores = static_cast<float *>(scratch(0, size_t(index_at(a.seq_lens, b) + a.V) * sizeof(float)));
        attend<E>(a, row<E>(a.query, b) + h * a.query.stride[1], row<int32_t>(a.block_table, b), h / (a.QH / a.KH),
                  keys_of(a, b), row<E>(a.out, b) + h * a.out.stride[1], lse_of<E>(a, b, h), scores + a.V, scores);
      }
    });
    return opswap_status{OPSWAP_OK};
  });
}

}  // namespace opswap::OPSWAP_ISA
