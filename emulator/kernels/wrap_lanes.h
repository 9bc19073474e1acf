// A small kernel around each access of a thread and of a warp: global and shared words, cp.async, ldmatrix, stmatrix.
#pragma once

#include "common/sm90/cp_async.h"
#include "common/sm90/global.h"
#include "common/sm90/matrix.h"
#include "common/sm90/shared.h"

namespace opswap::sm90 {

struct LanesTile {
  alignas(128) unsigned char data[4096];
  Mbarrier full;
};

// A word of each thread to shared memory and, turned round, back.
template <class Word>
__global__ void wrap_words(Word *out, const Word *in) {
  OPSWAP_SHARED(LanesTile, s);
  auto *words = reinterpret_cast<Word *>(s.data);
  shared_store(words + threadIdx.x, global_load(in + threadIdx.x));
  __syncthreads();
  global_store(out + threadIdx.x, shared_load(words + 31 - threadIdx.x));
}

// The words of every second thread, and for the others these bits, with no word to look at.
template <class Word>
__global__ void wrap_words_if(Word *out, const Word *in, uint32_t bits) {
  const bool there = threadIdx.x % 2 == 0;
  global_store(out + threadIdx.x, global_load_if(there, there ? in + threadIdx.x : nullptr, bits));
  global_store(out + 32 + threadIdx.x, repeated<Word>(bits));
}

// Two groups of copies: the first half, of which the last `missing` bytes of each are left out, and the second.
template <int Bytes>
__global__ void wrap_cp_async(unsigned char *out, const unsigned char *in, uint32_t missing) {
  OPSWAP_SHARED(LanesTile, s);
  const int mine = int(threadIdx.x) * Bytes, half = 32 * Bytes;
  if (threadIdx.x == 0) mbarrier_init(s.full, 32);
  __syncthreads();
  cp_async<Bytes>(s.data + mine, in + mine, Bytes - missing);
  cp_async_commit();
  cp_async<Bytes>(s.data + half + mine, in + half + mine);
  cp_async_commit();
  cp_async_wait<1>();
  for (int i = 0; i < Bytes; ++i) out[mine + i] = s.data[mine + i];
  cp_async_arrive(s.full);
  mbarrier_wait(s.full, 0);
  for (int i = 0; i < Bytes; ++i) out[half + mine + i] = s.data[half + 31 * Bytes - mine + i];
}

// `Count` matrices of 8 x 8 through registers, transposed on either way or not; the registers are told too.
template <int Count, bool Load, bool Store>
__global__ void wrap_matrices(uint16_t *out, uint32_t *registers, const uint16_t *in) {
  OPSWAP_SHARED(LanesTile, s);
  auto *tile = reinterpret_cast<uint16_t *>(s.data);
  for (int i = int(threadIdx.x); i < Count * 64; i += 32) tile[i] = in[i];
  __syncwarp();
  const int row = int(threadIdx.x) % (Count * 8) * 8;
  uint32_t r[Count];
  ldmatrix<Load>(r, tile + row);
  for (int i = 0; i < Count; ++i) registers[i * 32 + threadIdx.x] = r[i];
  __syncwarp();
  stmatrix<Store>(tile + row, r);
  __syncwarp();
  for (int i = int(threadIdx.x); i < Count * 64; i += 32) out[i] = tile[i];
}

}  // namespace opswap::sm90
