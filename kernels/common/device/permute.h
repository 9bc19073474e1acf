// Rows of tokens ordered by expert, on a device: a counting sort of the choices whose order is that of the tokens,
// whatever order blocks and warps run in. Shared by the rooms that expand rows.
#pragma once

#include "common/device/access.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int64_t kMostSorted = 56 * 1024;  // experts: a warp counts them in shared memory
constexpr int64_t kFewChoices = 2048, kFewExperts = 1024,
                  kFewAlignment = 1 << 20;  // below, each block sorts for itself
constexpr int64_t kLeastChunk = 128, kMostChunks = 64;
constexpr int kScanThreads = 1024;
constexpr int kScanHeld = 16;  // counts of a thread that are on their way at once

// A chunk is a run of choices, token by token, that one warp ranks. Few choices have neither ranks nor counts.
struct Permutation {
  Indices ids;        // [T, choices], -1 skips
  Indices row_of;     // [T, choices]
  Indices first_row;  // [experts + 1]
  int32_t *ranks;     // [T * choices]: place among the chunk's choices of the same expert; null: few
  int32_t *counts;    // [chunks, experts]; after the scan: such choices in the chunks before
  int64_t ids_stride, row_of_stride, choices, total, chunk, chunks, alignment;
  int experts;

  // Dynamic shared memory of the kernels that expand rows.
  size_t memory() const { return ranks ? 0 : size_t(total + experts) * sizeof(int32_t); }

  // Row of choice k of token t, or -1, once the choices are ranked.
  OPSWAP_DEVICE int64_t row(int64_t t, int64_t k) const {
    const int64_t expert = ids[t * ids_stride + k], i = t * choices + k;
    if (expert < 0) return -1;
    return first_row[expert] + load<1>(counts + i / chunk * experts + expert)[0] + load<1>(ranks + i)[0];
  }
};

// Few choices in a block's shared memory: each one's expert, and the first row of each expert.
class Few {
 public:
  OPSWAP_DEVICE explicit Few(const Permutation &p) : p_(p) {
    if (p.ranks) return;
    OPSWAP_SMEM_ARRAY(int32_t, memory, p.total + p.experts);
    expert_of_ = memory, first_ = memory + p.total;
    for (int e = thread(); e < p.experts; e += threads()) store_shared(first_ + e, Vec<int32_t, 1>{0});
    __syncthreads();
    for (int i = thread(); i < int(p.total); i += threads()) {
      const int expert = int(p.ids[i / p.choices * p.ids_stride + i % p.choices]);
      store_shared(expert_of_ + i, Vec<int32_t, 1>{expert});
      if (expert >= 0) atomicAdd(first_ + expert, 1);
    }
    __syncthreads();
    if (thread() < kWarp) counts_to_rows();
    __syncthreads();
  }

  // Row of choice i of all, or -1: a warp counts those of the same expert in front of it.
  OPSWAP_DEVICE int64_t row(int i) const {
    const int expert = expert_at(i);
    if (expert < 0) return -1;
    int before = 0;
    for (int j = thread() % kWarp; j < i; j += kWarp) before += expert_at(j) == expert;
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) before += __shfl_xor_sync(kAllLanes, before, distance);
    return load_shared<1>(first_ + expert)[0] + before;
  }

  static OPSWAP_DEVICE int thread() { return int(threadIdx.y * blockDim.x + threadIdx.x); }
  static OPSWAP_DEVICE int threads() { return int(blockDim.x * blockDim.y); }

 private:
  OPSWAP_DEVICE int expert_at(int i) const { return load_shared<1>(expert_of_ + i)[0]; }

  // By one warp; that of the first block writes them for the caller as well.
  OPSWAP_DEVICE void counts_to_rows() {
    const bool writes = blockIdx.x == 0 && blockIdx.y == 0;
    int end = 0;
    for (int begin = 0; begin < p_.experts; begin += kWarp) {
      const int e = begin + thread();
      const int rows = e < p_.experts ? int(round_up<int64_t>(load_shared<1>(first_ + e)[0], p_.alignment)) : 0;
      int sum = rows;
#pragma unroll
      for (int distance = 1; distance < kWarp; distance *= 2) {
        const int other = __shfl_up_sync(kAllLanes, sum, unsigned(distance));
        sum += thread() >= distance ? other : 0;
      }
      if (e < p_.experts) store_shared(first_ + e, Vec<int32_t, 1>{end + sum - rows});
      if (e < p_.experts && writes) p_.first_row.set(e, end + sum - rows);
      end += __shfl_sync(kAllLanes, sum, kWarp - 1);
    }
    if (thread() == 0 && writes) p_.first_row.set(p_.experts, end);
  }

  const Permutation &p_;
  int32_t *expert_of_ = nullptr, *first_ = nullptr;
};

// The rows of up to a warp's worth of a token's choices from `begin` on, for all threads of the block; one of the
// blocks of a token also writes them to row_of. Returns how many.
OPSWAP_DEVICE int list_rows(const Permutation &p, const Few &few, int64_t t, int64_t begin, bool writes,
                            int64_t (&rows)[kWarp]) {
  const int count = int(p.choices - begin < kWarp ? p.choices - begin : kWarp), thread = Few::thread();
  const auto note = [&](int k, int64_t row) {
    store_shared(rows + k, Vec<int64_t, 1>{row});
    if (writes) p.row_of.set(t * p.row_of_stride + begin + k, row);
  };
  __syncthreads();  // the readers of the list before are done
  if (p.ranks) {
    if (thread < count) note(thread, p.row(t, begin + thread));
  } else {
    for (int k = thread / kWarp; k < count; k += Few::threads() / kWarp) {
      const int64_t row = few.row(int(t * p.choices + begin + k));
      if (thread % kWarp == 0) note(k, row);
    }
  }
  __syncthreads();
  return count;
}

__global__ void __launch_bounds__(kWarp) moe_rank_kernel(const __grid_constant__ Permutation p) {
  OPSWAP_SMEM_ARRAY(int32_t, seen, p.experts);
  const int lane = int(threadIdx.x);
  for (int e = lane; e < p.experts; e += kWarp) store_shared(seen + e, Vec<int32_t, 1>{0});
  __syncwarp();
  dependency_wait();
  dependency_trigger();
  const int64_t begin = blockIdx.x * p.chunk, end = begin + p.chunk < p.total ? begin + p.chunk : p.total;
  for (int64_t slice = begin; slice < end; slice += kWarp) {
    const int64_t i = slice + lane;
    const int expert = i < end ? int(p.ids[i / p.choices * p.ids_stride + i % p.choices]) : -1;
    const unsigned same = __match_any_sync(kAllLanes, expert);
    const int before = __popc(same & ((1u << lane) - 1)), known = expert < 0 ? 0 : load_shared<1>(seen + expert)[0];
    __syncwarp();
    if (expert >= 0 && before == 0) store_shared(seen + expert, Vec<int32_t, 1>{known + __popc(same)});
    __syncwarp();
    if (i < end) store(p.ranks + i, Vec<int32_t, 1>{known + before});
  }
  for (int e = lane; e < p.experts; e += kWarp)
    store(p.counts + blockIdx.x * int64_t(p.experts) + e, load_shared<1>(seen + e));
}

// Sum of x over the threads before this one; `total` is that of the block.
OPSWAP_DEVICE int64_t sum_before(int64_t x, int64_t *warp_sums, int64_t &total) {
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  int64_t sum = x;
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int64_t other = __shfl_up_sync(kAllLanes, sum, unsigned(distance));
    sum += lane >= distance ? other : 0;
  }
  __syncthreads();  // the readers of the call before are done
  if (lane == kWarp - 1) warp_sums[warp] = sum;
  __syncthreads();
  int64_t before = sum - x;
  total = 0;
  for (int w = 0; w < warps; ++w) {
    before += w < warp ? warp_sums[w] : 0;
    total += warp_sums[w];
  }
  return before;
}

// One block, a thread for each expert: counts become sums over the chunks before, and experts get their first rows.
__global__ void __launch_bounds__(kScanThreads) moe_scan_kernel(const __grid_constant__ Permutation p) {
  OPSWAP_SHARED(int64_t[kScanThreads / kWarp], warp_sums);
  dependency_wait();
  dependency_trigger();
  int64_t row = 0;
  for (int begin = 0; begin < p.experts; begin += int(blockDim.x)) {
    const int e = begin + int(threadIdx.x);
    int32_t seen = 0;
    for (int64_t c = 0; c < p.chunks && e < p.experts; c += kScanHeld) {
      int32_t count[kScanHeld];
#pragma unroll
      for (int k = 0; k < kScanHeld; ++k)
        count[k] = c + k < p.chunks ? load<1>(p.counts + (c + k) * p.experts + e)[0] : 0;
#pragma unroll
      for (int k = 0; k < kScanHeld; ++k) {
        if (c + k < p.chunks) store(p.counts + (c + k) * p.experts + e, Vec<int32_t, 1>{seen});
        seen += count[k];
      }
    }
    int64_t total;
    const int64_t before = sum_before(round_up<int64_t>(seen, p.alignment), warp_sums, total);
    if (e < p.experts) p.first_row.set(e, row + before);
    row += total;
  }
  if (threadIdx.x == 0) p.first_row.set(p.experts, row);
}

inline int64_t chunk_of(int64_t total) {
  return std::max(kLeastChunk, round_up<int64_t>(ceil_div(total, kMostChunks), kWarp));
}

// Whether each block sorts for itself what it needs, in one launch, instead of three for the whole.
template <class Args>
bool few_choices(const Args &a) {
  const int64_t total = a.T * a.K;
  return total > 0 && total <= kFewChoices && a.F - 1 <= kFewExperts && a.alignment <= kFewAlignment;
}

template <class Args>
int64_t permutation_bytes(const Args &a) {
  if (few_choices(a)) return 0;
  const int64_t total = a.T * a.K;
  return (total + ceil_div(total, chunk_of(total)) * (a.F - 1)) * int64_t(sizeof(int32_t));
}

template <class Args>
const char *permutation_refusal(const Args &a) {
  return a.F - 1 > kMostSorted ? "it counts at most 57344 experts" : nullptr;
}

// Starts the sort, which few choices need not; what is launched next may ask for rows.
template <class Args>
opswap_status order_by_expert(const Args &a, const opswap_exec &exec, Permutation &p) {
  const int64_t total = a.T * a.K, chunk = chunk_of(total);
  p = {.ids = indices_of(a.topk_ids),
       .row_of = indices_of(a.row_of),
       .first_row = indices_of(a.expert_first_row),
       .ranks = static_cast<int32_t *>(exec.workspace),
       .counts = static_cast<int32_t *>(exec.workspace) + total,
       .ids_stride = a.topk_ids.stride[0],
       .row_of_stride = a.row_of.stride[0],
       .choices = a.K,
       .total = total,
       .chunk = chunk,
       .chunks = ceil_div(total, chunk),
       .alignment = a.alignment,
       .experts = int(a.F - 1)};
  if (few_choices(a)) {
    p.ranks = nullptr;
    return OPSWAP_OK;
  }
  const Geometry rank{
      .grid = {p.chunks}, .block = {kWarp}, .smem = size_t(std::max(p.experts, 1)) * sizeof(int32_t), .pdl = true};
  if (opswap_status e = launch(exec, "moe_rank_kernel", moe_rank_kernel, rank, p)) return e;
  const int64_t threads = std::clamp<int64_t>(round_up<int64_t>(p.experts, kWarp), kWarp, kScanThreads);
  const Geometry scan{.grid = {1}, .block = {threads}, .pdl = true};
  return launch(exec, "moe_scan_kernel", moe_scan_kernel, scan, p);
}

}  // namespace opswap::OPSWAP_PASS
