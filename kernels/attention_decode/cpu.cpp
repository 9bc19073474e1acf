// attention_decode on a CPU: attention of the newest tokens of each sequence over a paged cache. The keys of long
// sequences are split over threads and merged in order.
#include "attention_decode.gen.h"

#include "common/attend_few_rows.h"
#include "common/attend_plain.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(attention_decode) {
  constexpr const char *kOp = "attention_decode";
  if (opswap_status e = check_options(a, kOp)) return e;
  for (int64_t b = 0; b < a.B; ++b) {
    if (opswap_status e = check_blocks(a, kOp, b)) return e;
    if (opswap_status e = check_rows(kOp, b, a.q_len, index_at(a.seq_lens, b))) return e;
  }
  return check_plan(kOp, a, plan_of(a, a.q_len, false));
}

OPSWAP_REF(attention_decode) {
  return with_cache_type(a, [&]<class E, class C>(E, C) {
    for (int64_t b = 0; b < a.B; ++b) {
      const RowRange rows{b * a.q_len, (b + 1) * a.q_len};
      attend_plain_rows<E, C>(a, slots_of(a, b), rows, index_at(a.seq_lens, b), true);
    }
    return opswap_status{OPSWAP_OK};
  });
}

// Keys that the rows of sequence b see, from the first one's to the last one's.
static KeyRange keys_of(const attention_decode_args &a, int64_t b) {
  const int64_t length = index_at(a.seq_lens, b);
  return {visible(length - a.q_len, length, true, a.sliding_window).first, length};
}

// Long sequences are split into parts of one length, so that every thread has work; a sequence's parts are merged in
// order, so the result does not depend on the threads. batch_invariant: the length does not depend on the batch.
struct Split {
  int64_t length;
  TaskList parts;
  float *saved;  // [parts][KH][rows][row_size]: what each part of more than one leaves behind
  int64_t rows, row_size;

  float *at(const attention_decode_args &a, int64_t part, int64_t kv_head) const {
    return saved + (part * a.KH + kv_head) * rows * row_size;
  }
  bool whole(int64_t b) const { return parts.before[b + 1] - parts.before[b] == 1; }
};

static int64_t part_length(const attention_decode_args &a) {
  constexpr int64_t kPart = 256, kEnough = 128;  // longer parts wait less for their first keys
  if (a.batch_invariant) return kPart;
  int64_t keys = 0;
  for (int64_t b = 0; b < a.B; ++b) keys += keys_of(a, b).last - keys_of(a, b).first;
  return keys * a.KH >= kEnough * 2 * kPart ? 2 * kPart : kPart;
}

// Part p of the keys of sequence b for one KV head.
static QueryTile tile_of(const attention_decode_args &a, int64_t b, int64_t kv_head, int64_t p, int64_t length) {
  const KeyRange keys = keys_of(a, b);
  const int64_t first = keys.first + p * length, last = first + length;
  return {slots_of(a, b),
          kv_head,
          b * a.q_len,
          a.q_len,
          a.QH / a.KH,
          index_at(a.seq_lens, b) - a.q_len,
          {first, last < keys.last ? last : keys.last},
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

// Attends to every part; one that is its sequence's only one is written straight out.
template <class E, class C, class Block>
static opswap_status attend_parts(const attention_decode_args &a, const Split &split) {
  return parallel_try(split.parts.count() * a.KH, 1, [&](int64_t begin, int64_t end) {
    Attention w;
    if (!w.reserve(split.rows, Block::q_words(a.D), split.row_size - kLanes)) return false;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t part = i / a.KH, kv_head = i % a.KH, b = split.parts.sequence(part);
      const QueryTile tile = tile_of(a, b, kv_head, part - split.parts.before[b], split.length);
      attend_tile<E, C>(a, tile, Block{w});
      if (split.whole(b))
        write_tile<E>(a, tile, w);
      else
        save_part(split.at(a, part, kv_head), split.row_size, w, split.rows);
    }
    return true;
  });
}

template <class E>
static void merge_sequence(const attention_decode_args &a, const Split &split, int64_t b) {
  const int64_t heads = a.QH / a.KH, first = split.parts.before[b];
  for (int64_t i = 0; i < a.KH * split.rows; ++i) {
    const int64_t kv_head = i / split.rows, r = i % split.rows;
    float *part = split.at(a, first, kv_head) + r * split.row_size;
    merge_parts(part, a.KH * split.rows * split.row_size, split.parts.before[b + 1] - first, split.row_size - kLanes);
    write_row<E>(a, b * a.q_len + r / heads, kv_head * heads + r % heads, part + kLanes, part[0], part[1]);
  }
}

template <class E, class C, class Block>
static opswap_status decode(const attention_decode_args &a) {
  Split split{part_length(a), {}, nullptr, a.q_len * (a.QH / a.KH), round_up(a.V, kLanes) + kLanes};
  int64_t *before = static_cast<int64_t *>(scratch(1, size_t(a.B + 1) * sizeof(int64_t)));
  if (!before) return fail(OPSWAP_E_MEMORY, "attention_decode: no memory for %lld sequences", (long long)a.B);
  split.parts = list_tasks(before, a.B, [&](int64_t b) {
    const KeyRange keys = keys_of(a, b);
    return keys.last > keys.first ? (keys.last - keys.first + split.length - 1) / split.length : 1;
  });
  if (split.parts.count() > a.B) {
    const size_t bytes = size_t(split.parts.count() * a.KH * split.rows * split.row_size) * sizeof(float);
    split.saved = static_cast<float *>(scratch(2, bytes));
    if (!split.saved) return fail(OPSWAP_E_MEMORY, "attention_decode: no memory for %zu bytes of parts", bytes);
  }
  if (opswap_status e = attend_parts<E, C, Block>(a, split)) return e;
  parallel_for(a.B, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      if (!split.whole(b)) merge_sequence<E>(a, split, b);
  });
  return OPSWAP_OK;
}

OPSWAP_CPU(attention_decode) {
  return with_cache_type(a, [&]<class E, class C>(E, C) {
    return with_cache_math<E, C>([&]<class Math>(Math) {
      return with_block<Math>(a.q_len * (a.QH / a.KH),
                              [&]<class Block>(std::type_identity<Block>) { return decode<E, C, Block>(a); });
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
