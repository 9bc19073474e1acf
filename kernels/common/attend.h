// Attention of a tile of query rows over cached keys: blocks of keys are packed once for all rows, and the softmax is
// kept up to date block by block (running maximum m, running sum l, output rescaled when m grows).
#pragma once

#include "common/paged.h"
#include "common/tile.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kKeys = 64;  // keys of one block

// The rows of a tile: `tokens` tokens from t0 on, `heads` query heads each, all of one sequence and one KV head.
struct QueryTile {
  int64_t sequence, kv_head, t0, tokens, heads;
  int64_t position;  // of token t0 in its sequence
  KeyRange keys;     // keys to visit; what one row sees of them is `visible`
  bool causal;
  int64_t rows() const { return tokens * heads; }
  int64_t token(int64_t r) const { return t0 + r / heads; }
  int64_t head(int64_t r) const { return kv_head * heads + r % heads; }
};

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

  static size_t bytes(int64_t rows, int64_t q_words, int64_t columns) {
    return size_t(rows * (q_words + kKeys + columns + 1 + kLanes) + kKeys * (q_words + columns)) * 4 + 7 * 64;
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
    return true;
  }
};

// pointers[i] = cached vector of key first + i, null from `count` on.
template <class E>
inline void find_keys(const E **pointers, const Tensor &cache, const int32_t *blocks, int64_t block_size, int64_t first,
                      int64_t count, int64_t head) {
  int64_t block = first / block_size, slot = first % block_size;
  for (int64_t i = 0; i < kKeys; ++i) {
    pointers[i] =
        i < count ? cache.as<E>() + blocks[block] * cache.stride[0] + head * cache.stride[1] + slot * cache.stride[2]
                  : nullptr;
    if (++slot == block_size) {
      slot = 0;
      ++block;
    }
  }
}

// panel[step][v] = word of kPerWord neighbouring keys; keys that are null give 0, so unused pages are never read.
template <class Math, class E>
inline void pack_values(uint32_t *panel, int64_t columns, const E *const *keys, int64_t count, int64_t width) {
  for (int64_t i = 0; i < count; i += Math::kPerWord, panel += columns) {
    const E *const a = keys[i], *const b = Math::kPerWord == 2 ? keys[i + 1] : nullptr;
    const auto put = [&](int64_t j, auto &&read) {
      vu words;
      if constexpr (Math::kPerWord == 2)
        words = (vu)read(a) >> 16 | (b ? (vu)read(b) : vu{});
      else
        words = (vu)read(a);
      std::memcpy(panel + j, &words, sizeof words);
    };
    for_lanes(
        width, [&](int64_t j) { put(j, [j](const E *p) { return load(p + j); }); },
        [&](int64_t j, int64_t left) { put(j, [=](const E *p) { return load_tail(p + j, left); }); });
  }
}

// How scores become probabilities.
struct Softmax {
  float scale, softcap;
};

// One row of scores over a block, of which columns [from, to) are visible: s = probabilities, o and l rescaled.
template <class Math>
inline void softmax_row(const Attention &w, int64_t r, int64_t from, int64_t to, int64_t columns, Softmax how) {
  float *s = w.s + r * kKeys;
  vf largest = splat(-__builtin_inff());
  for (int64_t c = 0; c < columns; c += kLanes) {
    vf x = load(s + c) * how.scale;
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
    const vf p = exp(load(s + c) - shift);
    total += p;
    if constexpr (Math::kPerWord == 2)
      store(reinterpret_cast<bf16 *>(s) + c, p);
    else
      store(s + c, p);
  }
  w.m[r] = now;
  store(w.l + r * kLanes, total);
}

template <class Math, class E, class Args>
inline void attend_block(const Args &a, const QueryTile &tile, const Attention &w, int64_t first, int64_t count) {
  const int32_t *blocks = row<int32_t>(a.block_table, tile.sequence);
  const E *keys[kKeys];
  find_keys(keys, a.key_cache, blocks, a.BS, first, count, tile.kv_head);
  const int64_t columns = round_up(count, kLanes), rows = tile.rows();
  for (int64_t i = 0; i < columns; i += kLanes) pack_rows<Math>(w.k + i, kKeys, keys + i, a.D);
  multiply<Math>({w.s, kKeys, false}, {reinterpret_cast<const char *>(w.q), w.q_words * 4}, rows, {w.k, kKeys}, columns,
                 w.q_words);
  const Softmax how{float(a.softmax_scale), float(a.softcap)};
  for (int64_t r = 0; r < rows; ++r) {
    const KeyRange seen = visible(tile.position + r / tile.heads, first + count, tile.causal, a.sliding_window);
    softmax_row<Math>(w, r, seen.first - first, seen.last - first, columns, how);
  }
  find_keys(keys, a.value_cache, blocks, a.BS, first, count, tile.kv_head);
  pack_values<Math>(w.v, w.columns, keys, count, a.V);
  multiply<Math>({w.o, w.columns, true}, {reinterpret_cast<const char *>(w.s), kKeys * 4}, rows, {w.v, w.columns},
                 w.columns, words_of<Math>(count));
}

// Fills w.o, w.m and w.l for the rows and keys of the tile.
template <class Math, class E, class Args>
inline void attend_tile(const Args &a, const QueryTile &tile, const Attention &w) {
  for (int64_t r = 0; r < tile.rows(); ++r) {
    copy_words<Math>(w.q + r * w.q_words, at_head<E>(a.query, tile.token(r), tile.head(r)), a.D);
    for (int64_t v = 0; v < w.columns; v += kLanes) store(w.o + r * w.columns + v, vf{});
    store(w.l + r * kLanes, vf{});
    w.m[r] = -__builtin_inff();
  }
  for (int64_t first = tile.keys.first; first < tile.keys.last; first += kKeys)
    attend_block<Math, E>(a, tile, w, first, tile.keys.last - first < kKeys ? tile.keys.last - first : kKeys);
}

// out = o / l and lse = m + ln l; a row that saw no key gives 0 and -inf.
template <class E, class Args>
inline void write_row(const Args &a, int64_t token, int64_t head, const float *o, float m, float l) {
  const bool seen = m > -__builtin_inff();
  const float inverse = seen ? 1.0f / l : 0.0f;
  E *out = at_head<E>(a.out, token, head);
  for_lanes(
      a.V, [&](int64_t v) { store(out + v, load(o + v) * inverse); },
      [&](int64_t v, int64_t left) { store_tail(out + v, load(o + v) * inverse, left); });
  if (a.lse) *at_head<float>(a.lse, token, head) = seen ? m + log(splat(l))[0] : m;
}

template <class E, class Args>
inline void write_tile(const Args &a, const QueryTile &tile, const Attention &w) {
  for (int64_t r = 0; r < tile.rows(); ++r)
    write_row<E>(a, tile.token(r), tile.head(r), w.o + r * w.columns, w.m[r], sum(load(w.l + r * kLanes)));
}

}  // namespace opswap::OPSWAP_ISA
