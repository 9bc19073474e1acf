// cascade_attention on a CPU: all rows go through the shared prefix in tiles, and each sequence's rows then through its
// own keys, from the state in float32 that the prefix left.
#include "cascade_attention.gen.h"

#include "common/attend_few_rows.h"
#include "common/attend_plain.h"
#include "common/op.h"

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

// What the prefix leaves behind for each row of the call: its m and l, then its o.
struct PrefixStates {
  float *data;
  int64_t first, heads, size;  // first token, and floats of a row

  float *at(const QueryTile &tile, int64_t r) const {
    return data + ((tile.token(r) - first) * heads + tile.head(r)) * size;
  }
  void save(const QueryTile &tile, const Attention &w) const {
    for (int64_t r = 0; r < tile.rows(); ++r) {
      float *to = at(tile, r);
      to[0] = w.m[r], to[1] = sum(load(w.l + r * kLanes));
      std::memcpy(to + kLanes, w.o + r * w.columns, size_t(w.columns) * sizeof(float));
    }
  }
  void take_up(const QueryTile &tile, const Attention &w) const {
    for (int64_t r = 0; r < tile.rows(); ++r) {
      const float *from = at(tile, r);
      w.m[r] = from[0], w.l[r * kLanes] = from[1];
      std::memcpy(w.o + r * w.columns, from + kLanes, size_t(w.columns) * sizeof(float));
    }
  }
};

// Tokens from `done` on of some rows, at most `most`; their keys are still to be said.
static QueryTile tile_of(const cascade_attention_args &a, const Slots &slots, RowRange rows, int64_t kv_head,
                         int64_t done, int64_t most) {
  const int64_t left = rows.count() - done;
  return {slots, kv_head, rows.begin + done, left < most ? left : most, a.QH / a.KH, 0, {0, 0}, false};
}

// The rows of all sequences see the whole prefix, so that they share tiles.
template <class Math, class E, class C>
static opswap_status attend_prefix(const cascade_attention_args &a, RowRange rows, const PrefixStates &states) {
  const int64_t tokens = tile_tokens(a), tiles = (rows.count() + tokens - 1) / tokens;
  return parallel_try(tiles * a.KH, 1, [&](int64_t begin, int64_t end) {
    Attention w;
    if (!w.reserve(tokens * (a.QH / a.KH), words_of<Math>(a.D), round_up(a.V, kLanes))) return false;
    const Slots slots{row<int32_t>(a.prefix_block_table, 0), 0, a.BS};
    for (int64_t i = begin; i < end; ++i) {
      QueryTile tile = tile_of(a, slots, rows, i % a.KH, i / a.KH * tokens, tokens);
      tile.keys.last = a.prefix_len;
      attend_tile<E, C>(a, tile, PackedBlock<Math>{w});
      states.save(tile, w);
    }
    return true;
  });
}

// A tile of one sequence goes on where its rows left the prefix.
template <class Math, class E, class C>
static bool attend_own(const cascade_attention_args &a, const QueryTile &tile, const PrefixStates &states) {
  return with_block<Math>(tile.rows(), [&]<class Block>(std::type_identity<Block>) {
    Attention w;
    if (!w.reserve(tile.rows(), Block::q_words(a.D), round_up(a.V, kLanes))) return false;
    const Block block{w};
    begin_tile<E>(a, tile, block);
    states.take_up(tile, w);
    attend_keys<C>(a, tile, block);
    write_tile<E>(a, tile, w);
    return true;
  });
}

template <class Math, class E, class C>
static opswap_status cascade(const cascade_attention_args &a) {
  const RowRange rows{index_at(a.query_start_loc, 0), index_at(a.query_start_loc, a.B)};
  const int64_t tokens = tile_tokens(a), size = kLanes + round_up(a.V, kLanes);
  int64_t *before = static_cast<int64_t *>(scratch(1, size_t(a.B + 1) * sizeof(int64_t)));
  float *memory = static_cast<float *>(scratch(2, size_t(rows.count() * a.QH * size + 1) * sizeof(float)));
  if (!before || !memory) return fail(OPSWAP_E_MEMORY, "cascade_attention: no memory for %lld rows", (long long)a.T);
  const PrefixStates states{memory, rows.begin, a.QH, size};
  if (opswap_status e = attend_prefix<Math, E, C>(a, rows, states)) return e;
  const TaskList tiles =
      list_tasks(before, a.B, [&](int64_t b) { return (rows_of(a, b).count() + tokens - 1) / tokens; });
  return parallel_try(tiles.count() * a.KH, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t task = i / a.KH, b = tiles.sequence(task), length = index_at(a.seq_lens, b);
      QueryTile tile = tile_of(a, slots_of(a, b), rows_of(a, b), i % a.KH, (task - tiles.before[b]) * tokens, tokens);
      tile.position = length - rows_of(a, b).count() + tile.t0 - rows_of(a, b).begin;
      tile.keys.last = visible(tile.position + tile.tokens - 1, length, a.causal, -1).last;
      tile.causal = a.causal;
      if (!attend_own<Math, E, C>(a, tile, states)) return false;
    }
    return true;
  });
}

OPSWAP_CPU(cascade_attention) {
  return with_cache_type(a, [&]<class E, class C>(E, C) {
    return with_cache_math<E, C>([&]<class Math>(Math) { return cascade<Math, E, C>(a); });
  });
}

}  // namespace opswap::OPSWAP_ISA
