// rotary_embedding on a CPU: rotation of query and key heads by the token's position, in place. Head by head.
#include "rotary_embedding.gen.h"

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Rotates one head in place; cos and sin point at R/2 values each.
template <class E, class C, bool kNeox>
static void rotate_plain(E *head, const C *cos, const C *sin, int64_t half, int64_t from = 0) {
  for (int64_t i = from; i < half; ++i) {
    E &a = head[kNeox ? i : 2 * i], &b = head[kNeox ? i + half : 2 * i + 1];
    const float x = to_float(a), y = to_float(b), c = to_float(cos[i]), s = to_float(sin[i]);
    a = from_float<E>(x * c - y * s);
    b = from_float<E>(y * c + x * s);
  }
}

template <class E, class C, bool kNeox>
static void rotate(E *head, const C *cos, const C *sin, int64_t half) {
  int64_t i = 0;
  if constexpr (kNeox) {
    for (; i + kLanes <= half; i += kLanes) {
      const vf x = load(head + i), y = load(head + half + i), c = load(cos + i), s = load(sin + i);
      store(head + i, x * c - y * s);
      store(head + half + i, y * c + x * s);
    }
  }
  rotate_plain<E, C, kNeox>(head, cos, sin, half, i);
}

// For every token and head of query and key: body(head, cos, sin, half).
template <class E, class C, class Body>
static void for_heads(const rotary_embedding_args &a, int64_t begin, int64_t end, Body &&body) {
  for (int64_t t = begin; t < end; ++t) {
    const C *cos = row<C>(a.cos_sin_cache, index_at(a.positions, t)), *sin = cos + a.R / 2;
    for (int64_t h = 0; h < a.QH; ++h) body(row<E>(a.query, t) + h * a.query.stride[1], cos, sin, a.R / 2);
    for (int64_t h = 0; a.key && h < a.KH; ++h) body(row<E>(a.key, t) + h * a.key.stride[1], cos, sin, a.R / 2);
  }
}

// body(E{}, C{}, neox) for the call's element type, cache type and pairing.
template <class Body>
static opswap_status with_types(const rotary_embedding_args &a, Body &&body) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E e) {
    return with_float_type(a.cache_dtype, [&]<class C>(C c) {
      a.is_neox ? body(e, c, std::true_type{}) : body(e, c, std::false_type{});
      return opswap_status{OPSWAP_OK};
    });
  });
}

OPSWAP_REF(rotary_embedding) {
  return with_types(a, [&]<class E, class C, class Neox>(E, C, Neox) {
    for_heads<E, C>(a, 0, a.T, [](E *head, const C *cos, const C *sin, int64_t half) {
      rotate_plain<E, C, Neox::value>(head, cos, sin, half);
    });
  });
}

OPSWAP_CPU(rotary_embedding) {
  return with_types(a, [&]<class E, class C, class Neox>(E, C, Neox) {
    parallel_for(a.T, rows_per_task((a.QH + a.KH) * a.R), [&](int64_t begin, int64_t end) {
      for_heads<E, C>(a, begin, end, [](E *head, const C *cos, const C *sin, int64_t half) {
        rotate<E, C, Neox::value>(head, cos, sin, half);
      });
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
