// attention_prefill on a CPU: attention of the new tokens of each sequence over a paged cache. Tiles of tokens against
// packed blocks of keys.
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
          attend_plain<E>(a, row<E>(a.query, t) + h * a.query.stride[1], row<int32_t>(a.block_table, b),
                          h / (a.QH / a.KH), keys, row<E>(a.out, t) + h * a.out.stride[1],
                          a.lse ? row<float>(a.lse, t) + h * a.lse.stride[1] : nullptr);
        });
    return opswap_status{OPSWAP_OK};
  });
}

// Tokens of one tile: enough rows to pay for packing the keys, few enough that every thread gets several tiles.
static int64_t tile_tokens(const attention_prefill_args &a) {
  constexpr int64_t kMostRows = 96, kFewestRows = 24, kTiles = 8;
  const int64_t heads = a.QH / a.KH, rows = a.T * a.QH / (kTiles * thread_count());
  const int64_t wanted = rows > kMostRows ? kMostRows : rows < kFewestRows ? kFewestRows : rows;
  return heads < wanted ? wanted / heads : 1;
}

// The tokens from `done` on of sequence b, at most `most`, for one KV head.
static QueryTile tile_of(const attention_prefill_args &a, int64_t b, int64_t kv_head, int64_t done, int64_t most) {
  const int64_t begin = index_at(a.query_start_loc, b), count = index_at(a.query_start_loc, b + 1) - begin;
  const int64_t length = index_at(a.seq_lens, b), tokens = count - done < most ? count - done : most;
  const int64_t position = length - count + done;
  return {b,
          kv_head,
          begin + done,
          tokens,
          a.QH / a.KH,
          position,
          {visible(position, length, a.causal, a.sliding_window).first,
           visible(position + tokens - 1, length, a.causal, a.sliding_window).last},
          a.causal};
}

template <class Math, class E>
static opswap_status prefill(const attention_prefill_args &a) {
  const int64_t tokens = tile_tokens(a);
  const auto tiles_of = [&](int64_t b) {
    return (index_at(a.query_start_loc, b + 1) - index_at(a.query_start_loc, b) + tokens - 1) / tokens;
  };
  int64_t tiles = 0;
  for (int64_t b = 0; b < a.B; ++b) tiles += tiles_of(b);
  return parallel_try(tiles * a.KH, 1, [&](int64_t begin, int64_t end) {
    Attention w;
    if (!w.reserve(tokens * (a.QH / a.KH), words_of<Math>(a.D), round_up(a.V, kLanes))) return false;
    for (int64_t i = begin; i < end; ++i) {
      int64_t b = 0, tile = i / a.KH;
      while (tile >= tiles_of(b)) tile -= tiles_of(b++);
      const QueryTile rows = tile_of(a, b, i % a.KH, tile * tokens, tokens);
      attend_tile<E>(a, rows, PackedBlock<Math>{w});
      write_tile<E>(a, rows, w);
    }
    return true;
  });
}

OPSWAP_CPU(attention_prefill) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_math<E, E>([&]<class Math>(Math) { return prefill<Math, E>(a); });
  });
}

}  // namespace opswap::OPSWAP_ISA
