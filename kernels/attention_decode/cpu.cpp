// attention_decode on a CPU: attention of one new token per sequence over a paged cache. The keys of few sequences are
// split over threads and merged in order.
#include "attention_decode.gen.h"

#include "common/attend_few_rows.h"
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
        attend_plain<E>(a, row<E>(a.query, b) + h * a.query.stride[1], row<int32_t>(a.block_table, b),
                        h / (a.QH / a.KH), keys_of(a, b), row<E>(a.out, b) + h * a.out.stride[1], lse_of<E>(a, b, h));
    return opswap_status{OPSWAP_OK};
  });
}

// Few sequences are split over their keys as well, so that every thread has work; parts are merged in order, so the
// result depends on the shape only.
constexpr int64_t kPart = 256, kEnoughTasks = 32;

struct Split {
  int64_t parts, length;  // parts of `length` keys; parts of one sequence may be empty
};
static Split split_of(const attention_decode_args &a) {
  int64_t longest = 0;
  for (int64_t b = 0; b < a.B; ++b) {
    const KeyRange keys = keys_of(a, b);
    longest = keys.last - keys.first > longest ? keys.last - keys.first : longest;
  }
  return a.B * a.KH >= kEnoughTasks ? Split{1, longest} : Split{(longest + kPart - 1) / kPart, kPart};
}

// Part p of the keys of sequence b for one KV head.
static QueryTile tile_of(const attention_decode_args &a, int64_t b, int64_t kv_head, int64_t p, Split split) {
  const KeyRange keys = keys_of(a, b);
  const int64_t first = keys.first + p * split.length, last = first + split.length;
  return {b,   kv_head, b, 1, a.QH / a.KH, index_at(a.seq_lens, b) - 1, {first, last < keys.last ? last : keys.last},
          true};
}

// What a part leaves behind for each of its rows: m, l and o.
static void save_part(float *part, int64_t size, const Attention &w, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r, part += size) {
    part[0] = w.m[r];
    part[1] = sum(load(w.l + r * kLanes));
    std::memcpy(part + kLanes, w.o + r * w.columns, size_t(w.columns) * sizeof(float));
  }
}

// Merges the parts of one row into the first one; `step` floats lie between parts.
static void merge_parts(float *part, int64_t step, int64_t parts, int64_t columns) {
  float m = part[0];
  for (int64_t p = 1; p < parts; ++p) m = part[p * step] > m ? part[p * step] : m;
  float l = 0;
  for (int64_t p = 0; p < parts; ++p) {
    const float *from = part + p * step;
    const float weight = m > -__builtin_inff() ? exp(splat(from[0] - m))[0] : 0.0f;
    l += weight * from[1];
    for (int64_t v = kLanes; v < kLanes + columns; v += kLanes)
      store(part + v, (p ? load(part + v) : vf{}) + weight * load(from + v));
  }
  part[0] = m;
  part[1] = l;
}

// Attends to every part; `saved` takes what each leaves behind, or is null when there is one part per sequence.
template <class E, class Block>
static opswap_status attend_parts(const attention_decode_args &a, Split split, int64_t parts, float *saved,
                                  int64_t row_size) {
  const int64_t heads = a.QH / a.KH;
  return parallel_try(a.B * a.KH * parts, 1, [&](int64_t begin, int64_t end) {
    Attention w;
    if (!w.reserve(heads, Block::q_words(a.D), row_size - kLanes)) return false;
    for (int64_t i = begin; i < end; ++i) {
      const QueryTile tile = tile_of(a, i / parts / a.KH, i / parts % a.KH, i % parts, split);
      attend_tile<E>(a, tile, Block{w});
      saved ? save_part(saved + i * heads * row_size, row_size, w, heads) : write_tile<E>(a, tile, w);
    }
    return true;
  });
}

template <class E, class Block>
static opswap_status decode(const attention_decode_args &a) {
  const Split split = split_of(a);
  const int64_t heads = a.QH / a.KH, parts = split.parts ? split.parts : 1, row_size = round_up(a.V, kLanes) + kLanes;
  if (parts == 1) return attend_parts<E, Block>(a, split, parts, nullptr, row_size);
  const size_t bytes = size_t(a.B * a.QH * parts * row_size) * sizeof(float);
  float *saved = static_cast<float *>(scratch(1, bytes));
  if (!saved) return fail(OPSWAP_E_MEMORY, "attention_decode: no memory for %zu bytes of partial results", bytes);
  if (opswap_status e = attend_parts<E, Block>(a, split, parts, saved, row_size)) return e;
  for (int64_t i = 0; i < a.B * a.QH; ++i) {
    float *part = saved + (i / heads * parts * heads + i % heads) * row_size;
    merge_parts(part, heads * row_size, parts, row_size - kLanes);
    write_row<E>(a, i / a.QH, i % a.QH, part + kLanes, part[0], part[1]);
  }
  return OPSWAP_OK;
}

OPSWAP_CPU(attention_decode) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_math<E, E>([&]<class Math>(Math) {
      return with_block<Math>(a.QH / a.KH, [&]<class Block>(std::type_identity<Block>) { return decode<E, Block>(a); });
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
