// The way out of a product's sums, from a warp's registers to rows of out: by way of shared memory of its own, so that
// what a warp writes of a row is one piece. Of D a warp has 16 rows; with Swap those are 16 features of out.
//
// A room's way out is a struct with
//   T, to                         what out holds, and where: 16 bits, or float32, whose values go straight to memory
//   kOf                           rows of weight of a column of out: 1, or 2 whose rows alternate by eights in a tile
//   begin(column, row)            what the sums of a column begin with; row is 1 in the second of two rows
//   finish(sum, token, column)    the value of a sum; where kOf is 2, finish(first, second, token, column)
// A column may lie outside of out there, and a token too; what is made of them is not written. A way out that differs
// from group to group has at(task), which makes the task's.
#pragma once

#include "common/device/layout.h"
#include "common/device/product_ring.h"
#include "common/device/vec.h"
#include "common/sm90/cluster.h"
#include "common/sm90/matrix.h"
#include "common/sm90/tma.h"

namespace opswap {

// out [M, N] in memory, and what may be written at once.
template <class T>
struct ProductOut {
  T *data;         // [M, N]
  int64_t stride;  // elements from row to row
  int n;
  bool wide;                        // rows start at multiples of 16 bytes
  bool boxed = false;               // `map` may be used: rows of a task end where those of out do
  const sm90::TensorMap *map = {};  // set by the kernel: boxes of 16 rows by 64 columns
};

template <class T>
inline ProductOut<T> product_out(const Tensor &out) {
  const int64_t stride = out.shape[0] > 1 ? out.stride[0] : 0, bytes = stride * int64_t(sizeof(T));
  return {out.as<T>(), stride, int(out.shape[1]), (reinterpret_cast<uintptr_t>(out.data) | uintptr_t(bytes)) % 16 == 0};
}

// Sums as they are, begun with the bias of their columns or 0.
template <class Out, class Bias = Out>
struct BiasedRows {
  using T = Out;
  static constexpr int kOf = 1;
  ProductOut<T> to;
  const Bias *bias;  // [N] or nullptr
  OPSWAP_DEVICE float begin(int column, int) const {
    return bias && column < to.n ? to_float(load<1>(bias + column)[0]) : 0.0f;
  }
  OPSWAP_DEVICE float finish(float sum, int, int) const { return sum; }
};

// Which token and which column of out a thread's value i of D belongs to; a column has `Of` rows of weight.
template <class Memory, int Of>
struct PlaceOf {
  int token, column, in_group;
  OPSWAP_DEVICE PlaceOf(const ProductTask &task, int thread)
      : token(task.token), column(task.column), in_group(thread % device::kWarpgroup) {
    const int base = thread / device::kWarpgroup * 64;
    (Memory::kSwap ? column : token) += Memory::kSwap ? base / Of : base;
  }
  OPSWAP_DEVICE int token_of(int i) const {
    return token + (Memory::kSwap ? Held::column(in_group, i) : Held::row(in_group, i));
  }
  OPSWAP_DEVICE int feature(int i) const { return Memory::kSwap ? Held::row(in_group, i) : Held::column(in_group, i); }
  OPSWAP_DEVICE int column_of(int i) const {
    return column + (Of == 1 ? feature(i) : feature(i) / 16 * 8 + feature(i) % 8);
  }

 private:
  using Held = Accumulator<Memory::kColumns>;
};

template <class Out>
OPSWAP_DEVICE auto out_of(const Out &out, const ProductTask &task) {
  if constexpr (requires { out.at(task); })
    return out.at(task);
  else
    return out;
}

// What the sums of a task start as: of the parts that share it, one begins with what the way out says.
template <class Memory, class Out>
OPSWAP_DEVICE void begin_sums(float (&d)[Memory::kHeld], const Out &out, const ProductTask &task, int thread) {
  const PlaceOf<Memory, Out::kOf> place(task, thread);
#pragma unroll
  for (int i = 0; i < Memory::kHeld; ++i)
    d[i] = task.begin ? 0.0f : out.begin(place.column_of(i), Out::kOf == 2 ? place.feature(i) / 8 % 2 : 0);
}

// This block's sums where the others of its cluster find them: in the ring, once nobody of the block reads it.
template <class Memory>
inline constexpr bool kSumsFit = sizeof(float) * Memory::kRows * Memory::kColumns <= sizeof Memory::first;
template <class Memory>
OPSWAP_DEVICE Vec<float, 4> *sums_of(Memory &s) {
  static_assert(kSumsFit<Memory>, "the sums have room in the ring");
  return reinterpret_cast<Vec<float, 4> *>(s.first);
}
template <class Memory>
OPSWAP_DEVICE void share_sums(Memory &s, const float (&d)[Memory::kHeld], int thread) {
#pragma unroll
  for (int i = 0; i < Memory::kHeld; i += 4)
    store_shared(sums_of(s)[i / 4 * Memory::kMultiplying + thread].at,
                 Vec<float, 4>{d[i], d[i + 1], d[i + 2], d[i + 3]});
}

// The four sums of a piece, eight columns of D, that a thread has: its own, or where a cluster has split K those of
// all parts, in the order of the ranks.
template <class Memory>
OPSWAP_DEVICE Vec<float, 4> sums_of_piece(Memory &s, const float (&d)[Memory::kHeld], int piece, int split,
                                          int thread) {
  const float *const own = d + piece * 4;
  Vec<float, 4> sum{own[0], own[1], own[2], own[3]};
  if constexpr (kSumsFit<Memory>) {
    if (split == 1) return sum;
    sum = {};
    for (int part = 0; part < split; ++part) {
      const auto of = sm90::cluster_load(sm90::map_shared(sums_of(s) + piece * Memory::kMultiplying + thread, part));
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[i] += of[i];
    }
  }
  return sum;
}

// Values of out that a thread has of piece `number` of a way out: four, or two where they are made of two rows of D.
template <class Memory, class Out>
struct OutPieces {
  static constexpr bool kHalves = Memory::kSwap && Out::kOf == 2;  // both rows are in one piece of D
  static constexpr int kOfPieces = Memory::kSwap ? 1 : Out::kOf, kCount = Memory::kColumns / 8 / kOfPieces,
                       kValues = kHalves ? 2 : 4;
  // Which block of a cluster puts a piece out.
  static OPSWAP_DEVICE int owner(int number, int split) { return number * split / kCount; }
  static OPSWAP_DEVICE int first(int rank, int split) { return (rank * kCount + split - 1) / split; }

  static OPSWAP_DEVICE Vec<float, kValues> values(Memory &s, const float (&d)[Memory::kHeld], const Out &out,
                                                  const PlaceOf<Memory, Out::kOf> &place, int number, int split,
                                                  int thread) {
    Vec<float, kValues> v;
    const int piece = number * kOfPieces;
    const auto sums = sums_of_piece<Memory>(s, d, piece, split, thread);
    const auto others = kOfPieces == 2 ? sums_of_piece<Memory>(s, d, piece + 1, split, thread) : sums;
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const int token = place.token_of(piece * 4 + i), column = place.column_of(piece * 4 + i);
      if constexpr (Out::kOf == 1)
        v[i] = out.finish(sums[i], token, column);
      else
        v[i] = out.finish(sums[i], kHalves ? sums[i + 2] : others[i], token, column);
    }
    return v;
  }
};

template <class T>
OPSWAP_DEVICE uint32_t pair_of(float low, float high) {
  return from_float<T>(low).bits | uint32_t(from_float<T>(high).bits) << 16;
}

// A piece as 8x8 matrices of 16 bits: piece `at` of rows of `Bytes` in the warp's shared memory, turned by eights of
// rows. Two matrices are 16 rows of D; one is made of them where two rows of D are one of out.
template <int Bytes, bool Turned, class T, int Values>
OPSWAP_DEVICE void put_piece(unsigned char *staged, const Vec<float, Values> &v, int at, int lane) {
  uint32_t r[Values / 2];
#pragma unroll
  for (int i = 0; i < Values / 2; ++i) r[i] = pair_of<T>(v[2 * i], v[2 * i + 1]);
  const int row = Turned ? at * 8 + lane % 8 : lane % 16, chunk = Turned ? lane / 8 % (Values / 2) : at;
  sm90::stmatrix<Turned>(staged + Swizzle<Bytes>::of(row * Bytes + chunk * 16), r);
}

// Rows of the warp's shared memory to out. Chunks of 16 bytes are eight columns; row_of(r, chunk) says where chunk
// `chunk` of staged row r goes, or -1.
template <int Bytes, class T, class RowOf>
OPSWAP_DEVICE void write_rows(const ProductOut<T> &out, const unsigned char *staged, int rows, int column, int lane,
                              RowOf &&row_of) {
  constexpr int kAcross = Bytes / 16, kElements = 16 / int(sizeof(T));
  const int chunk = lane % kAcross, at = column + chunk * kElements;
  for (int r = lane / kAcross; r < rows; r += device::kWarp / kAcross) {
    const int row = row_of(r, chunk);
    if (row < 0 || at >= out.n) continue;
    const auto v =
        load_shared<kElements>(reinterpret_cast<const T *>(staged + Swizzle<Bytes>::of(r * Bytes + chunk * 16)));
    T *const to = out.data + row * out.stride + at;
    if (out.wide && at + kElements <= out.n) {
      store(to, v);
    } else {
#pragma unroll
      for (int i = 0; i < kElements; ++i)
        if (at + i < out.n) store(to + i, Vec<T, 1>{v[i]});
    }
  }
}

// The warp's shared memory to out as one box, which nobody waits for until it is written again or the block ends.
template <class T>
OPSWAP_DEVICE void write_box(const ProductOut<T> &out, const unsigned char *staged, int row, int column) {
  sm90::fence_async_proxy();
  __syncwarp();
  if (!sm90::elect_one()) return;
  sm90::tma_store(out.map, staged, column, row);
  sm90::tma_commit();
}
template <class T>
OPSWAP_DEVICE void wait_for_box(const ProductOut<T> &out) {
  if (out.boxed && sm90::elect_one()) sm90::tma_wait_read();
  __syncwarp();
}

// D of all warpgroups as it lies: 64 columns of out at a time.
template <class Memory, class Out>
OPSWAP_DEVICE void write_product(Memory &s, const float (&d)[Memory::kHeld], const Out &out, const ProductTask &task,
                                 int split, int thread) {
  using Pieces = OutPieces<Memory, Out>;
  constexpr int kBytes = 128, kAtOnce = kBytes / 16;
  static_assert(Pieces::kCount % kAtOnce == 0, "64 columns of out at a time");
  const int lane = thread % device::kWarp, warp = thread / device::kWarp;
  const int rank = split > 1 ? int(sm90::cluster_rank()) : 0, row = task.token + warp * 16;
  const PlaceOf<Memory, Out::kOf> place(task, thread);
#pragma unroll
  for (int number = 0; number < Pieces::kCount; number += kAtOnce) {
    const int column = task.column + number * 8;
    wait_for_box(out.to);  // the columns before have been read
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (Pieces::owner(number + i, split) == rank)
        put_piece<kBytes, false, typename Out::T>(s.out[warp],
                                                  Pieces::values(s, d, out, place, number + i, split, thread), i, lane);
    if (out.to.boxed && split == 1) {
      write_box(out.to, s.out[warp], row, column);
      continue;
    }
    __syncwarp();
    write_rows<kBytes>(out.to, s.out[warp], 16, column, lane, [&](int r, int chunk) {
      return row + r < task.token_end && Pieces::owner(number + chunk, split) == rank ? row + r : -1;
    });
  }
}

// D turned: each piece is eight tokens. Where a cluster has split K, each block puts some of them out.
template <class Memory, class Out>
OPSWAP_DEVICE void write_turned(Memory &s, const float (&d)[Memory::kHeld], const Out &out, const ProductTask &task,
                                int split, int thread) {
  using Pieces = OutPieces<Memory, Out>;
  constexpr int kBytes = 32 / Out::kOf;
  const int lane = thread % device::kWarp, warp = thread / device::kWarp;
  const int rank = split > 1 ? int(sm90::cluster_rank()) : 0, first = Pieces::first(rank, split);
  const PlaceOf<Memory, Out::kOf> place(task, thread);
  int own = 0;
  __syncwarp();  // the tile before has been read
#pragma unroll
  for (int number = 0; number < Pieces::kCount; ++number)
    if (Pieces::owner(number, split) == rank)
      put_piece<kBytes, true, typename Out::T>(s.out[warp], Pieces::values(s, d, out, place, number, split, thread),
                                               own++, lane);
  __syncwarp();
  write_rows<kBytes>(out.to, s.out[warp], own * 8, task.column + warp * 16 / Out::kOf, lane, [&](int r, int) {
    const int token = task.token + first * 8 + r;
    return token < task.token_end ? token : -1;
  });
}

// float32 straight to memory: a warp's access is whole sectors as D lies.
template <class Memory, class Out>
OPSWAP_DEVICE void write_floats(Memory &s, const float (&d)[Memory::kHeld], const Out &out, const ProductTask &task,
                                int split, int thread) {
  using Pieces = OutPieces<Memory, Out>;
  const int rank = split > 1 ? int(sm90::cluster_rank()) : 0;
  const PlaceOf<Memory, Out::kOf> place(task, thread);
#pragma unroll
  for (int number = 0; number < Pieces::kCount; ++number) {
    if (Pieces::owner(number, split) != rank) continue;
    const auto v = Pieces::values(s, d, out, place, number, split, thread);
#pragma unroll
    for (int i = 0; i < Pieces::kValues; ++i) {
      const int value = number * Pieces::kOfPieces * 4 + i, token = place.token_of(value),
                column = place.column_of(value);
      if (token < task.token_end && column < out.to.n)
        store(out.to.data + token * out.to.stride + column, Vec<float, 1>{v[i]});
    }
  }
}

template <class Memory, class Out>
OPSWAP_DEVICE void write_out(Memory &s, const float (&d)[Memory::kHeld], const Out &out, const ProductTask &task,
                             int split, int thread) {
  if constexpr (std::is_same_v<typename Out::T, float>)
    write_floats(s, d, out, task, split, thread);
  else if constexpr (Memory::kSwap)
    write_turned(s, d, out, task, split, thread);
  else
    write_product(s, d, out, task, split, thread);
}

}  // namespace opswap
