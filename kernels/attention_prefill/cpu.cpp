// attention_prefill on a CPU: attention of the new tokens of each sequence over keys in a paged cache or one after the
// other. Tiles of tokens against packed blocks of keys.
#include "attention_prefill.gen.h"

#include "common/attend.h"
#include "common/attend_plain.h"
#include "common/code_words.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(attention_prefill) {
  constexpr const char *kOp = "attention_prefill";
  if (bool(a.block_table) == bool(a.key_start_loc))
    return fail(OPSWAP_E_ARGUMENT, "%s: came with %s of block_table and key_start_loc, needs one of them", kOp,
                a.block_table ? "both" : "neither");
  if (a.block_table ? a.C != a.B : a.K != a.B + 1)
    return fail(OPSWAP_E_SHAPE, "%s: %s has %lld entries, needs %lld for %lld sequences", kOp,
                a.block_table ? "block_table" : "key_start_loc", (long long)(a.block_table ? a.C : a.K),
                (long long)(a.block_table ? a.B : a.B + 1), (long long)a.B);
  if (a.interleaved_values)
    if (opswap_status e = check_interleaved(a, kOp)) return e;
  return check_batch(a, kOp);
}

OPSWAP_REF(attention_prefill) {
  return with_cache_type(a, [&]<class E, class C>(E, C) {
    for (int64_t b = 0; b < a.B; ++b)
      attend_plain_rows<E, C>(a, slots_of(a, b), rows_of(a, b), index_at(a.seq_lens, b), a.causal);
    return opswap_status{OPSWAP_OK};
  });
}

// The tokens from `done` on of sequence b, at most `most`, for one KV head.
static QueryTile tile_of(const attention_prefill_args &a, int64_t b, int64_t kv_head, int64_t done, int64_t most) {
  const int64_t count = rows_of(a, b).count(), length = index_at(a.seq_lens, b);
  const int64_t tokens = count - done < most ? count - done : most, position = length - count + done;
  return {slots_of(a, b),
          kv_head,
          index_at(a.query_start_loc, b) + done,
          tokens,
          a.QH / a.KH,
          position,
          {visible(position, length, a.causal, a.sliding_window).first,
           visible(position + tokens - 1, length, a.causal, a.sliding_window).last},
          a.causal};
}

template <class Math, class E, class C>
static opswap_status prefill(const attention_prefill_args &a) {
  const int64_t tokens = tile_tokens(a);
  int64_t *before = static_cast<int64_t *>(scratch(1, size_t(a.B + 1) * sizeof(int64_t)));
  if (!before) return fail(OPSWAP_E_MEMORY, "attention_prefill: no memory for %lld sequences", (long long)a.B);
  const TaskList tiles =
      list_tasks(before, a.B, [&](int64_t b) { return (rows_of(a, b).count() + tokens - 1) / tokens; });
  return parallel_try(tiles.count() * a.KH, 1, [&](int64_t begin, int64_t end) {
    Attention w;
    if (!w.reserve(tokens * (a.QH / a.KH), words_of<Math>(a.D), round_up(a.V, kLanes))) return false;
    for (int64_t i = begin; i < end; ++i) {
      // The last tiles first: those of a sequence see ever more keys, and a long one at the end leaves threads idle.
      const int64_t task = tiles.count() * a.KH - 1 - i, b = tiles.sequence(task / a.KH);
      const QueryTile rows = tile_of(a, b, task % a.KH, (task / a.KH - tiles.before[b]) * tokens, tokens);
      attend_tile<E, C>(a, rows, PackedBlock<Math>{w});
      write_tile<E>(a, rows, w);
    }
    return true;
  });
}

OPSWAP_CPU(attention_prefill) {
  return with_cache_type(a, [&]<class E, class C>(E, C) {
    return with_cache_math<E, C>([&]<class Math>(Math) { return prefill<Math, E, C>(a); });
  });
}

}  // namespace opswap::OPSWAP_ISA
