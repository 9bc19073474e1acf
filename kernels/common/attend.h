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
  uint32_t *zero;            // [q_words or columns]: stands in for keys that are not there

  static size_t bytes(int64_t rows, int64_t q_words, int64_t columns) {
    return size_t(rows * (q_words + kKeys + columns + 1 + kLanes) + (kKeys + 1) * (q_words + columns)) * 4 + 8 * 64;
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
    take(zero, words + width);
    std::memset(zero, 0, size_t(words + width) * 4);
    return true;
  }
};

// pointers[i] = cached vector of key first + i; from `count` on `absent`, so that slots not in use are never read.
template <class E>
inline void find_keys(const E **pointers, const Tensor &cache, const int32_t *blocks, int64_t block_size, int64_t first,
                      int64_t count, int64_t head, const E *absent) {
  int64_t block = first / block_size, slot = first % block_size;
  for (int64_t i = 0; i < count; ++block, slot = 0) {
    const E *p = cache.as<E>() + blocks[block] * cache.stride[0] + head * cache.stride[1] + slot * cache.stride[2];
    for (; i < count && slot < block_size; ++i, ++slot, p += cache.stride[2]) pointers[i] = p;
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
  if constexpr (Math::kPerWord == 2)
    return read(keys[0]) >> 16 | read(keys[1]);
  else
    return read(keys[0]);
}

// The two products of a block for many rows: keys and values are packed once, then multiplied as small matrices.
template <class Math>
struct PackedBlock {
  using Arithmetic = Math;
  const Attention &w;

  static int64_t q_words(int64_t n) { return words_of<Math>(n); }
  void begin(int64_t, int64_t) const {}

  // s[r][i] = q[r] . key[i] over n features, in whole vectors of keys.
  template <class E>
  void scores(const E *const *keys, int64_t rows, int64_t columns, int64_t n) const {
    for (int64_t i = 0; i < columns; i += kLanes) pack_rows<Math>(w.k + i, kKeys, keys + i, n);
    multiply<Math>({w.s, kKeys, false}, {reinterpret_cast<const char *>(w.q), w.q_words * 4}, rows, {w.k, kKeys},
                   columns, w.q_words);
  }

  // o[r] += sum over keys of p[r][key] * value[key], `width` columns.
  template <class E>
  void values(const E *const *keys, int64_t rows, int64_t count, int64_t width) const {
    uint32_t *panel = w.v;
    for (int64_t i = 0; i < count; i += Math::kPerWord, panel += w.columns) {
      const auto put = [&](int64_t j, vu words) { std::memcpy(panel + j, &words, sizeof words); };
      for_lanes(
          width, [&](int64_t j) { put(j, value_words<Math>(keys + i, j)); },
          [&](int64_t j, int64_t left) { put(j, value_words<Math>(keys + i, j, left)); });
    }
    multiply<Math>({w.o, w.columns, true}, {reinterpret_cast<const char *>(w.s), kKeys * 4}, rows, {w.v, w.columns},
                   w.columns, words_of<Math>(count));
  }
};

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
    store(reinterpret_cast<typename Math::Stored *>(s) + c, p);  // behind what is still to be read
  }
  w.m[r] = now;
  store(w.l + r * kLanes, total);
}

// Pointers to the keys and values of one block; those of the next block are known early, so that they can be fetched.
template <class E>
struct Fetched {
  const E *keys[kKeys], *values[kKeys];
  int64_t count;
};

template <class E, class Args>
inline void find_block(Fetched<E> &block, const Args &a, const QueryTile &tile, const Attention &w, int64_t first) {
  const int32_t *blocks = row<int32_t>(a.block_table, tile.sequence);
  const E *absent = reinterpret_cast<const E *>(w.zero);
  const int64_t left = tile.keys.last - first;
  block.count = left < kKeys ? left : kKeys;
  find_keys(block.keys, a.key_cache, blocks, a.BS, first, block.count, tile.kv_head, absent);
  find_keys(block.values, a.value_cache, blocks, a.BS, first, block.count, tile.kv_head, absent);
}

// Asks for `count` vectors of n elements: pages are scattered, which the CPU's own prefetcher does not see through.
template <class E>
inline void fetch(const E *const *vectors, int64_t count, int64_t n) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t byte = 0; byte < n * int64_t(sizeof(E)); byte += 64)
      __builtin_prefetch(reinterpret_cast<const char *>(vectors[i]) + byte, 0, 2);
}

template <class E, class Block, class Args>
inline void attend_block(const Args &a, const QueryTile &tile, const Block &block, int64_t first,
                         const Fetched<E> &now) {
  const Attention &w = block.w;
  const int64_t columns = round_up(now.count, kLanes), rows = tile.rows();
  block.scores(now.keys, rows, columns, a.D);
  const Softmax how{float(a.softmax_scale), float(a.softcap)};
  for (int64_t r = 0; r < rows; ++r) {
    const KeyRange seen = visible(tile.position + r / tile.heads, first + now.count, tile.causal, a.sliding_window);
    softmax_row<typename Block::Arithmetic>(w, r, seen.first - first, seen.last - first, columns, how);
  }
  block.values(now.values, rows, now.count, a.V);
}

// Fills w.o, w.m and w.l for the rows and keys of the tile.
template <class E, class Block, class Args>
inline void attend_tile(const Args &a, const QueryTile &tile, const Block &block) {
  const Attention &w = block.w;
  for (int64_t r = 0; r < tile.rows(); ++r) {
    copy_words<typename Block::Arithmetic>(w.q + r * w.q_words, at_head<E>(a.query, tile.token(r), tile.head(r)), a.D);
    for (int64_t v = 0; v < w.columns; v += kLanes) store(w.o + r * w.columns + v, vf{});
    store(w.l + r * kLanes, vf{});
    w.m[r] = -__builtin_inff();
  }
  block.begin(tile.rows(), a.D);
  Fetched<E> around[2];
  const auto find = [&](Fetched<E> &f, int64_t first) {
    find_block(f, a, tile, w, first);
    fetch(f.keys, f.count, a.D);
    fetch(f.values, f.count, a.V);
  };
  if (tile.keys.first < tile.keys.last) find(around[0], tile.keys.first);
  for (int64_t first = tile.keys.first, turn = 0; first < tile.keys.last; first += kKeys, turn ^= 1) {
    if (first + kKeys < tile.keys.last) find(around[turn ^ 1], first + kKeys);
    attend_block<E>(a, tile, block, first, around[turn]);
  }
}

// out = o / l and lse = m + ln l; a row that saw no key gives 0 and -inf. A NaN is not in m, but in l.
template <class E, class Args>
inline void write_row(const Args &a, int64_t token, int64_t head, const float *o, float m, float l) {
  const bool seen = m > -__builtin_inff();
  const float inverse = seen ? 1.0f / l : 0.0f;
  E *out = at_head<E>(a.out, token, head);
  for_lanes(
      a.V, [&](int64_t v) { store(out + v, load(o + v) * inverse); },
      [&](int64_t v, int64_t left) { store_tail(out + v, load(o + v) * inverse, left); });
  if (a.lse) *at_head<float>(a.lse, token, head) = l != l ? l : seen ? m + log(splat(l))[0] : m;
}

template <class E, class Args>
inline void write_tile(const Args &a, const QueryTile &tile, const Attention &w) {
  for (int64_t r = 0; r < tile.rows(); ++r)
    write_row<E>(a, tile.token(r), tile.head(r), w.o + r * w.columns, w.m[r], sum(load(w.l + r * kLanes)));
}

}  // namespace opswap::OPSWAP_ISA
