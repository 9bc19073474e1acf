// Rows of tokens ordered by expert, on a device: a counting sort of the choices whose order is that of the tokens,
// whatever order blocks and warps run in. Shared by the rooms that expand rows, each in one launch: a block takes
// neighbouring tokens, counts the choices in front of them and behind them, and ranks its own.
#pragma once

#include "common/device/access.h"
#include "common/device/sum_before.h"
#include "common/sm90/cluster.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int64_t kMostExperts = 12 * 1024;  // counters of that many fit into shared memory
constexpr int64_t kMostRows = (int64_t{1} << 31) - 1;
constexpr int kListed = 512;           // choices of one token at most
constexpr int64_t kFewChoices = 2048;  // up to here a block counts all of them itself, above a cluster shares them
constexpr int64_t kMostShared = 8;     // blocks of such a cluster
constexpr int kCountedAtOnce = 4;      // accesses of a thread that are on their way at once

// Where choice (token, k) of a block's goes.
struct alignas(8) Place {
  int32_t row, expert;  // both -1: nowhere
};

struct Permutation {
  Indices ids;        // [tokens, choices], outside of [0, experts) a choice is left out
  Indices row_of;     // [tokens, choices]
  Indices first_row;  // [experts + 1]
  int64_t ids_stride, row_of_stride;
  int tokens, choices, experts;
  uint32_t alignment;
  int each, more;  // tokens of a block; the first `more` blocks have one more
  int listed;      // tokens that are ranked at once
  bool flat;       // ids lie one behind the other, so that accesses are 16 bytes wide
};

// A walk over (token, i) with i below `width`, by steps that need no division.
struct Walk {
  int token, i, width, tokens_on, on;
  OPSWAP_DEVICE Walk(int first_token, int start, int step, int row)
      : token(first_token + start / row), i(start % row), width(row), tokens_on(step / row), on(step % row) {}
  OPSWAP_DEVICE void next() {
    token += tokens_on, i += on;
    if (i >= width) i -= width, ++token;
  }
};

// Shared memory of the sort beside the counters, which are dynamic.
struct Sorting {
  int32_t sums[kWarp];
  Place listed[kListed];
};

// The block's tokens, and the rows of their choices.
class Sorted {
 public:
  static constexpr int kCounters = 4;  // of each expert, in dynamic shared memory
  int begin, end;

  OPSWAP_DEVICE Sorted(const Permutation &p, Sorting &memory) : p_(p), memory_(memory) {
    OPSWAP_SMEM_ARRAY(int32_t, counters, kCounters *p.experts);
    before_ = counters, own_ = before_ + p.experts, behind_ = own_ + p.experts, next_ = behind_ + p.experts;
    begin = first_of(int(blockIdx.x)), end = first_of(int(blockIdx.x) + 1);
  }

  // Behind dependency_wait(), by all threads of the block and of its cluster, before any list.
  OPSWAP_DEVICE void sort() {
    for (int e = thread(); e < 3 * p_.experts; e += threads()) store_shared(before_ + e, Vec<int32_t, 1>{0});
    __syncthreads();
    const int peers = int(cluster_blocks()), rank = int(cluster_rank()), lead = int(blockIdx.x) - rank;
    const int front = first_of(lead), rest = first_of(lead + peers);
#pragma unroll 1
    for (int part = 0; part < 3; ++part) {  // in front of the cluster, the block's own, behind the cluster
      const int from = part == 0   ? share(0, front, rank, peers)
                       : part == 1 ? begin
                                   : share(rest, p_.tokens, rank, peers);
      const int to = part == 0   ? share(0, front, rank + 1, peers)
                     : part == 1 ? end
                                 : share(rest, p_.tokens, rank + 1, peers);
      count(from, to, before_ + part * p_.experts);
    }
    meet(peers);
    counts_to_rows(rank, peers);
    if (peers > 1) cluster_sync();  // the peers have read this block's counters
  }

  // The places of the choices of tokens [from, to), at most p.listed of them, token by token; for all threads.
  OPSWAP_DEVICE void list(int from, int to) {
    __syncthreads();  // the rows are counted, and the readers of the list before are done
    if (thread() < kWarp) rank(from, (to - from) * p_.choices);
    __syncthreads();
  }
  OPSWAP_DEVICE Place place(int i) const { return load_shared<1>(memory_.listed + i)[0]; }

  static OPSWAP_DEVICE int thread() { return int(threadIdx.y * blockDim.x + threadIdx.x); }
  static OPSWAP_DEVICE int threads() { return int(blockDim.x * blockDim.y); }

 private:
  OPSWAP_DEVICE int first_of(int block) const { return block * p_.each + (block < p_.more ? block : p_.more); }
  // Where the part of one of `peers` of the tokens [from, to) begins.
  static OPSWAP_DEVICE int share(int from, int to, int part, int peers) {
    const int each = (to - from + peers - 1) / peers;
    return part * each < to - from ? from + part * each : to;
  }
  static OPSWAP_DEVICE void meet(int peers) {
    if (peers > 1)
      cluster_sync();
    else
      __syncthreads();
  }

  OPSWAP_DEVICE void add(int64_t expert, int32_t *counters) const {
    if (uint64_t(expert) < uint64_t(p_.experts)) atomicAdd(counters + expert, 1);
  }

  // Choices of the tokens [from, to) by expert.
  OPSWAP_DEVICE void count(int from, int to, int32_t *counters) const {
    if (p_.flat)
      return p_.ids.wide ? count_flat<int64_t>(from * p_.choices, to * p_.choices, counters)
                         : count_flat<int32_t>(from * p_.choices, to * p_.choices, counters);
    for (Walk at(from, thread(), threads(), p_.choices); at.token < to; at.next())
      add(p_.ids[at.token * p_.ids_stride + at.i], counters);
  }
  template <class I>
  OPSWAP_DEVICE void count_flat(int from, int to, int32_t *counters) const {
    constexpr int kRun = int(kWidest / sizeof(I));
    const I *ids = static_cast<const I *>(p_.ids.data);
    const int step = threads() * kRun;
    for (int i = from / kRun * kRun + thread() * kRun; i < to; i += kCountedAtOnce * step) {
      Vec<I, kRun> x[kCountedAtOnce];
#pragma unroll
      for (int j = 0; j < kCountedAtOnce; ++j)
        if (i + j * step < to) x[j] = load<kRun>(ids + i + j * step);
#pragma unroll
      for (int j = 0; j < kCountedAtOnce; ++j)
#pragma unroll
        for (int r = 0; r < kRun; ++r)
          if (const int at = i + j * step + r; at >= from && at < to) add(x[j][r], counters);
    }
  }

  // The first row of each expert, and of its choices that are this block's.
  OPSWAP_DEVICE void counts_to_rows(int rank, int peers) {
    const bool writes = blockIdx.x == 0 && blockIdx.y == 0;
    int row = 0;
    for (int begin = 0; begin < p_.experts; begin += threads()) {
      const int e = begin + thread();
      int before = 0, all = 0;
      for (int r = 0; r < peers && e < p_.experts; ++r) {
        const int in_front = counter(before_ + e, r, peers), own = counter(own_ + e, r, peers);
        before += in_front + (r < rank ? own : 0);
        all += in_front + own + counter(behind_ + e, r, peers);
      }
      int total;
      const int first = row + sum_before(memory_.sums, thread(), threads() / kWarp, aligned(all), total);
      if (e < p_.experts) store_shared(next_ + e, Vec<int32_t, 1>{first + before});
      if (e < p_.experts && writes) p_.first_row.set(e, first);
      row += total;
    }
    if (thread() == 0 && writes) p_.first_row.set(p_.experts, row);
  }
  static OPSWAP_DEVICE int counter(int32_t *mine, int rank, int peers) {
    return peers > 1 ? cluster_load(map_shared(mine, uint32_t(rank))) : load_shared<1>(mine)[0];
  }
  OPSWAP_DEVICE int aligned(int rows) const {
    return int((uint32_t(rows) + p_.alignment - 1) / p_.alignment * p_.alignment);
  }

  // By one warp: a choice's row is the next of its expert, in the order of lanes.
  OPSWAP_DEVICE void rank(int from, int count) {
    const int lane = thread();
    const bool writes = blockIdx.y == 0;
    Walk at(from, lane, kWarp, p_.choices);
    const auto id = [&](int i) {
      const int64_t expert = i < count ? p_.ids[at.token * p_.ids_stride + at.i] : -1;
      return uint64_t(expert) < uint64_t(p_.experts) ? int(expert) : -1;
    };
    for (int slice = 0; slice < count; slice += kWarp, at.next()) {
      const int i = slice + lane, expert = id(i);
      const unsigned same = __match_any_sync(kAllLanes, expert);
      const int earlier = __popc(same & ((1u << lane) - 1)), next = expert < 0 ? 0 : load_shared<1>(next_ + expert)[0];
      __syncwarp();
      if (expert >= 0 && earlier == 0) store_shared(next_ + expert, Vec<int32_t, 1>{next + __popc(same)});
      __syncwarp();
      const int row = expert < 0 ? -1 : next + earlier;
      if (i < count) store_shared(memory_.listed + i, Vec<Place, 1>{{row, expert}});
      if (i < count && writes) p_.row_of.set(at.token * p_.row_of_stride + at.i, row);
    }
  }

  const Permutation &p_;
  Sorting &memory_;
  int32_t *before_, *own_, *behind_, *next_;
};

template <class Args>
const char *permutation_refusal(const Args &a) {
  if (a.F - 1 > kMostExperts) return "it counts at most 12288 experts";
  if (a.K > kListed) return "it takes at most 512 choices of a token";
  if (a.R > kMostRows || a.T * a.K > kMostRows) return "it takes at most 2^31 - 1 rows";
  return nullptr;
}

// The sort that blocks of `geometry` make for themselves: their x takes tokens, y and z share them. Above few choices
// blocks become clusters.
template <class Args>
Permutation permutation_of(const Args &a, Geometry &geometry) {
  const int64_t total = a.T * a.K, run = kWidest / dtype_bytes(a.topk_ids.dtype);
  int64_t &blocks = geometry.grid.x = std::max<int64_t>(geometry.grid.x, 1);
  if (total > kFewChoices && geometry.grid.y == 1) {
    geometry.cluster.x = int64_t(std::bit_floor(uint64_t(std::min(blocks, kMostShared))));
    blocks = blocks / geometry.cluster.x * geometry.cluster.x;
  }
  const int64_t tokens = a.K ? a.T : 0;
  const Permutation p{.ids = indices_of(a.topk_ids),
                      .row_of = indices_of(a.row_of),
                      .first_row = indices_of(a.expert_first_row),
                      .ids_stride = a.topk_ids.stride[0],
                      .row_of_stride = a.row_of.stride[0],
                      .tokens = int(tokens),
                      .choices = int(std::max<int64_t>(a.K, 1)),
                      .experts = int(a.F - 1),
                      .alignment = uint32_t(std::min(a.alignment, kMostRows)),
                      .each = int(tokens / blocks),
                      .more = int(tokens % blocks),
                      .listed = int(a.K ? kListed / a.K : 1),
                      .flat = a.topk_ids.stride[0] == a.K && total % run == 0 && fits(a.topk_ids, run)};
  geometry.smem = size_t(Sorted::kCounters * p.experts) * sizeof(int32_t);
  return p;
}

}  // namespace opswap::OPSWAP_PASS
