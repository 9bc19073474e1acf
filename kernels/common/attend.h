// Attention of a tile of query rows over cached keys: blocks of keys are packed once for all rows, and the softmax is
// kept up to date block by block (running maximum m, running sum l, output rescaled when m grows). Codes of 8 bits
// become words as they are read; their scales are applied to scores, probabilities and results.
#pragma once

#include <algorithm>

#include "common/fp8_words.h"
#include "common/interleave.h"
#include "common/paged.h"
#include "common/tile.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kKeys = 64;  // keys of one block

// The rows of a tile: `tokens` tokens from t0 on, `heads` query heads each, all of one sequence and one KV head.
struct QueryTile {
  Slots slots;
  int64_t kv_head, t0, tokens, heads;
  int64_t position;  // of token t0 in its sequence
  KeyRange keys;     // keys to visit; what one row sees of them is `visible`
  bool causal;
  int64_t rows() const { return tokens * heads; }
  int64_t token(int64_t r) const { return t0 + r / heads; }
  int64_t head(int64_t r) const { return kv_head * heads + r % heads; }
};

// Tokens of one tile: enough rows to pay for packing the keys, few enough that every thread gets several tiles; one
// number for all batches where a sequence's rows must not depend on the others.
template <class Args>
inline int64_t tile_tokens(const Args &a) {
  constexpr int64_t kMostRows = 96, kFewestRows = 24, kTiles = 8;
  const int64_t heads = a.QH / a.KH, rows = a.T * a.QH / (kTiles * thread_count());
  const int64_t wanted = rows > kMostRows || a.batch_invariant ? kMostRows : rows < kFewestRows ? kFewestRows : rows;
  return heads < wanted ? wanted / heads : 1;
}

// Element (token, head) of query, out or lse.
template <class E>
inline E *at_head(const Tensor &t, int64_t token, int64_t head) {
  return row<E>(t, token) + head * t.stride[1];
}

// Work area of one tile, in the scratch of the thread.
struct Attention {
  int64_t q_words, columns;  // row lengths of q and of o, the latter in whole vectors
  uint32_t *q;               // [rows][q_words]
  uint32_t *k;               // [q_words][kKeys]
  uint32_t *v;               // [kKeys / kPerWord][columns]
  float *s;                  // [rows][kKeys]: scores, then probabilities as words
  float *o;                  // [rows][columns], not yet divided by l
  float *m;                  // [rows]
  float *l;                  // [rows][kLanes]: sums per lane
  float *k_by, *v_by;        // [kKeys]: what the block's keys and values are multiplied by, where each has a scale
  uint32_t *zero;            // [q_words or columns]: stands in for keys that are not there
  uint8_t *codes;            // [kKeys][columns]: interleaved values, key by key

  static size_t bytes(int64_t rows, int64_t q_words, int64_t columns) {
    return size_t(rows * (q_words + kKeys + columns + 1 + kLanes) + (kKeys + 1) * (q_words + columns) + 2 * kKeys) * 4 +
           size_t(kKeys * columns) + 11 * 64;
  }
  bool reserve(int64_t rows, int64_t words, int64_t width) {
    q_words = words;
    columns = width;
    char *p = static_cast<char *>(scratch(0, bytes(rows, words, width)));
    if (!p) return false;
    const auto take = [&](auto *&part, int64_t count) {
      part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(p);
      p += round_up(count * 4, 64);
    };
    take(k, words * kKeys);
    take(v, kKeys * width);
    take(q, rows * words);
    take(s, rows * kKeys);
    take(o, rows * width);
    take(m, rows);
    take(l, rows * kLanes);
    take(k_by, kKeys);
    take(v_by, kKeys);
    take(zero, words + width);
    take(codes, kKeys * width / int64_t(sizeof(uint32_t)));
    std::memset(zero, 0, size_t(words + width) * 4);
    return true;
  }
};

// pointers[i] = cached vector of key first + i; from `count` on `absent`, so that slots not in use are never read.
template <class E>
inline void find_keys(const E **pointers, const Tensor &cache, const Slots &slots, int64_t first, int64_t count,
                      int64_t head, const E *absent) {
  int64_t block = (slots.start + first) / slots.block_size, slot = slots.slot(first);
  for (int64_t i = 0; i < count; ++block, slot = 0) {
    const E *p = cache.as<E>() + (slots.blocks ? slots.blocks[block] : block) * cache.stride[0] +
                 head * cache.stride[1] + slot * cache.stride[2];
    for (; i < count && slot < slots.block_size; ++i, ++slot, p += cache.stride[2]) pointers[i] = p;
  }
  for (int64_t i = count; i < kKeys; ++i) pointers[i] = absent;
}

// Words at column j of the values of a key, or of two neighbouring ones for pairs; `left` columns exist, if given.
template <class Math, class E, class... Left>
inline vu value_words(const E *const *keys, int64_t j, Left... left) {
  const auto read = [=](const E *p) {
    if constexpr (sizeof...(Left) == 0)
      return (vu)load(p + j);
    else
      return (vu)load_tail(p + j, left...);
  };
  if constexpr (Math::kPerWord == 2 && std::is_same_v<E, e4m3>)
    return pairs_across(keys[0] + j, keys[1] + j, left...);
  else if constexpr (Math::kPerWord == 2)
    return read(keys[0]) >> 16 | read(keys[1]);
  else
    return read(keys[0]);
}

// Vectors of the block behind the one at hand. Pages are scattered, which the CPU's own prefetcher does not see
// through; asked for all at once they would wait for each other, so each step of a block asks for as many as it takes
// itself.
template <class C>
struct Ahead {
  const C *const *vectors;
  int64_t count, n;

  void operator()(int64_t first, int64_t many) const {
    const int64_t last = first + many < count ? first + many : count;
    for (int64_t i = first; i < last; ++i)
      for (int64_t byte = 0; byte < n * int64_t(sizeof(C)); byte += 64)
        __builtin_prefetch(reinterpret_cast<const char *>(vectors[i]) + byte, 0, 2);
  }
};

// The two products of a block for many rows: keys and values are packed once, then multiplied as small matrices.
template <class Math>
struct PackedBlock {
  using Arithmetic = Math;
  const Attention &w;

  static int64_t q_words(int64_t n) { return words_of<Math>(n); }
  void begin(int64_t, int64_t) const {}

  // s[r][i] = q[r] . key[i] over n features, in whole vectors of keys.
  template <class E>
  void scores(const E *const *keys, int64_t rows, int64_t columns, int64_t n, Ahead<E> ahead) const {
    for (int64_t i = 0; i < columns; i += kLanes) {
      ahead(i, kLanes);
      pack_rows<Math>(w.k + i, kKeys, keys + i, n);
    }
    multiply<Math>({w.s, kKeys, false}, {reinterpret_cast<const char *>(w.q), w.q_words * 4}, rows, {w.k, kKeys},
                   columns, w.q_words);
  }

  // o[r] += sum over keys of p[r][key] * value[key], `width` columns.
  template <class E>
  void values(const E *const *keys, int64_t rows, int64_t count, int64_t width, Ahead<E> ahead) const {
    uint32_t *panel = w.v;
    for (int64_t i = 0; i < count; i += Math::kPerWord, panel += w.columns) {
      ahead(i, Math::kPerWord);
      const auto put = [&](int64_t j, vu words) { std::memcpy(panel + j, &words, sizeof words); };
      for_lanes(
          width, [&](int64_t j) { put(j, value_words<Math>(keys + i, j)); },
          [&](int64_t j, int64_t left) { put(j, value_words<Math>(keys + i, j, left)); });
    }
    multiply<Math>({w.o, w.columns, true}, {reinterpret_cast<const char *>(w.s), kKeys * 4}, rows, {w.v, w.columns},
                   w.columns, words_of<Math>(count));
  }
};

// How scores become probabilities, of one head; k_by and v_by are null where keys have no scales of their own.
struct Softmax {
  float scale, softcap;
  const float *k_by, *v_by;
};

// One row of scores over a block, of which columns [from, to) are visible: s = what values are weighted by, o and l
// rescaled.
template <class Math>
inline void softmax_row(const Attention &w, int64_t r, int64_t from, int64_t to, int64_t columns, const Softmax &how) {
  float *s = w.s + r * kKeys;
  vf largest = splat(-__builtin_inff());
  for (int64_t c = 0; c < columns; c += kLanes) {
    vf x = load(s + c) * how.scale;
    if (how.k_by) x *= load(how.k_by + c);
    if (how.softcap > 0) x = how.softcap * tanh(x / how.softcap);
    if (c < from || c + kLanes > to) {
      const vi column = lane_numbers() + int32_t(c);
      x = (column >= int32_t(from)) & (column < int32_t(to)) ? x : splat(-__builtin_inff());
    }
    store(s + c, x);
    largest = max(largest, x);
  }
  const float before = w.m[r], highest = max_lane(largest), now = highest > before ? highest : before;
  const float shift = now == -__builtin_inff() ? 0.0f : now;  // a row that has seen no key yet
  vf total = load(w.l + r * kLanes);
  if (now > before) {
    const float shrink = exp(splat(before - shift))[0];
    for (int64_t v = 0; v < w.columns; v += kLanes)
      store(w.o + r * w.columns + v, load(w.o + r * w.columns + v) * shrink);
    total *= shrink;
  }
  for (int64_t c = 0; c < columns; c += kLanes) {
    vf p = exp(load(s + c) - shift);
    total += p;
    if (how.v_by) p = p == 0.0f ? p : p * load(how.v_by + c);    // a hidden key's scale may be anything
    store(reinterpret_cast<typename Math::Stored *>(s) + c, p);  // behind what is still to be read
  }
  w.m[r] = now;
  store(w.l + r * kLanes, total);
}

// Where keys and values of one block and their scales are; those of the next block are known early.
template <class C>
struct Fetched {
  const C *keys[kKeys], *values[kKeys];
  const float *k_by[kKeys], *v_by[kKeys];
  int64_t count;
};

template <class C, class Args>
inline void find_block(Fetched<C> &block, const Args &a, const QueryTile &tile, const Attention &w, int64_t first) {
  const C *absent = reinterpret_cast<const C *>(w.zero);
  const float *none = reinterpret_cast<const float *>(w.zero);
  const int64_t left = tile.keys.last - first;
  block.count = left < kKeys ? left : kKeys;
  find_keys(block.keys, a.key_cache, tile.slots, first, block.count, tile.kv_head, absent);
  find_keys(block.values, a.value_cache, tile.slots, first, block.count, tile.kv_head, absent);
  if (!a.k_scale_cache) return;
  find_keys(block.k_by, a.k_scale_cache, tile.slots, first, block.count, tile.kv_head, none);
  find_keys(block.v_by, a.v_scale_cache, tile.slots, first, block.count, tile.kv_head, none);
  Ahead<float>{block.k_by, block.count, 1}(0, kKeys);
  Ahead<float>{block.v_by, block.count, 1}(0, kKeys);
}

// Values of a block whose pages are interleaved, key by key, and where each key's are now.
template <class Args>
inline void uninterleave(const e4m3 **to, const Args &a, const QueryTile &tile, const Attention &w, int64_t first,
                         const Fetched<e4m3> &now) {
  for (int64_t i = 0; i < kKeys; ++i) {
    to[i] = now.values[i];
    if (i >= now.count) continue;
    const int64_t slot = tile.slots.slot(first + i);
    const e4m3 *const page = now.values[i] - slot * a.V + interleaved_place(slot);
    e4m3 *const key = reinterpret_cast<e4m3 *>(w.codes) + i * w.columns;
    for (int64_t v = 0; v < a.V; ++v) key[v] = page[v * a.BS];
    to[i] = key;
  }
}

template <class C, class Block, class Args>
inline void attend_block(const Args &a, const QueryTile &tile, const Block &block, int64_t first, const Fetched<C> &now,
                         const Fetched<C> &next) {
  const Attention &w = block.w;
  const int64_t columns = round_up(now.count, kLanes), rows = tile.rows();
  block.scores(now.keys, rows, columns, a.D, Ahead<C>{next.keys, next.count, a.D});
  const bool scaled = bool(a.k_scale_cache);
  for (int64_t i = 0; scaled && i < kKeys; ++i) w.k_by[i] = *now.k_by[i], w.v_by[i] = *now.v_by[i];
  const Softmax how{float(a.softmax_scale * scale_of(a.k_scale, tile.kv_head)), float(a.softcap),
                    scaled ? w.k_by : nullptr, scaled ? w.v_by : nullptr};
  for (int64_t r = 0; r < rows; ++r) {
    const KeyRange seen = visible(tile.position + r / tile.heads, first + now.count, tile.causal, window_of(a));
    softmax_row<typename Block::Arithmetic>(w, r, seen.first - first, seen.last - first, columns, how);
  }
  const Ahead<C> ahead{next.values, next.count, a.V};
  if constexpr (std::is_same_v<C, e4m3> && requires { a.interleaved_values; })
    if (a.interleaved_values) {
      const e4m3 *values[kKeys];
      uninterleave(values, a, tile, w, first, now);
      return block.values(values, rows, now.count, a.V, ahead);
    }
  block.values(now.values, rows, now.count, a.V, ahead);
}

// The queries of the tile, whose rows have seen no key yet.
template <class E, class Block, class Args>
inline void begin_tile(const Args &a, const QueryTile &tile, const Block &block) {
  const Attention &w = block.w;
  for (int64_t r = 0; r < tile.rows(); ++r) {
    copy_words<typename Block::Arithmetic>(w.q + r * w.q_words, at_head<E>(a.query, tile.token(r), tile.head(r)), a.D);
    for (int64_t v = 0; v < w.columns; v += kLanes) store(w.o + r * w.columns + v, vf{});
    store(w.l + r * kLanes, vf{});
    w.m[r] = -__builtin_inff();
  }
  block.begin(tile.rows(), a.D);
}

// Adds the keys of the tile to w.o, w.m and w.l of its rows.
template <class C, class Block, class Args>
inline void attend_keys(const Args &a, const QueryTile &tile, const Block &block) {
  const Attention &w = block.w;
  Fetched<C> around[2];
  if (tile.keys.first >= tile.keys.last) return;
  find_block(around[0], a, tile, w, tile.keys.first);
  Ahead<C>{around[0].keys, around[0].count, a.D}(0, kKeys);
  Ahead<C>{around[0].values, around[0].count, a.V}(0, kKeys);
  for (int64_t first = tile.keys.first, turn = 0; first < tile.keys.last; first += kKeys, turn ^= 1) {
    Fetched<C> &next = around[turn ^ 1];
    next.count = 0;
    if (first + kKeys < tile.keys.last) find_block(next, a, tile, w, first + kKeys);
    attend_block<C>(a, tile, block, first, around[turn], next);
  }
}

// Fills w.o, w.m and w.l for the rows and keys of the tile.
template <class E, class C, class Block, class Args>
inline void attend_tile(const Args &a, const QueryTile &tile, const Block &block) {
  begin_tile<E>(a, tile, block);
  attend_keys<C>(a, tile, block);
}

// out = o / l and lse = m + ln l; a row that saw no key gives 0 and -inf. A NaN is not in m, but in l. A sink is a
// score that joins m and l only here, with nothing for o.
template <class E, class Args>
inline void write_row(const Args &a, int64_t token, int64_t head, const float *o, float m, float l) {
  float by = scale_of(a.v_scale, head / (a.QH / a.KH));
  if (a.sinks) {
    const float sink = a.sinks.template as<float>()[head * a.sinks.stride[0]], most = sink > m ? sink : m;
    const float shift = most == -__builtin_inff() ? 0.0f : most, shrink = exp(splat(m - shift))[0];
    l = l * shrink + exp(splat(sink - shift))[0];
    m = most;
    by *= shrink;
  }
  const bool seen = m > -__builtin_inff();
  by = seen ? by / l : 0.0f;
  E *out = at_head<E>(a.out, token, head);
  for_lanes(
      a.V, [&](int64_t v) { store(out + v, load(o + v) * by); },
      [&](int64_t v, int64_t left) { store_tail(out + v, load(o + v) * by, left); });
  if (a.lse) *at_head<float>(a.lse, token, head) = l != l ? l : seen ? m + log(splat(l))[0] : m;
}

template <class E, class Args>
inline void write_tile(const Args &a, const QueryTile &tile, const Attention &w) {
  for (int64_t r = 0; r < tile.rows(); ++r)
    write_row<E>(a, tile.token(r), tile.head(r), w.o + r * w.columns, w.m[r], sum(load(w.l + r * kLanes)));
}

// A list of consecutive tasks, of which each sequence has some: which sequence a task is of.
struct TaskList {
  int64_t *before;  // [sequences + 1]
  int64_t sequences;

  int64_t count() const { return before[sequences]; }
  int64_t sequence(int64_t task) const { return std::upper_bound(before, before + sequences + 1, task) - before - 1; }
};

// `tasks_of(b)` tasks of each sequence, in a list at `before`.
template <class Count>
inline TaskList list_tasks(int64_t *before, int64_t sequences, Count &&tasks_of) {
  before[0] = 0;
  for (int64_t b = 0; b < sequences; ++b) before[b + 1] = before[b] + tasks_of(b);
  return {before, sequences};
}

}  // namespace opswap::OPSWAP_ISA
