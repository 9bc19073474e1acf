// The way out of a product's sums, from a warp's registers to rows of out: by way of shared memory of its own, so that
// what a warp writes of a row is one piece. Of D a warp has 16 rows; with Swap those are 16 columns of out.
#pragma once

#include "common/device/layout.h"
#include "common/device/product_ring.h"
#include "common/device/vec.h"
#include "common/sm90/cluster.h"
#include "common/sm90/matrix.h"

namespace opswap {

// out [M, N] in memory, and what may be written at once.
template <class T>
struct ProductOut {
  T *data;         // [M, N]
  int64_t stride;  // elements from row to row
  int m, n;
  bool wide;  // rows start at multiples of 16 bytes
};

template <class T>
inline ProductOut<T> product_out(const Tensor &out) {
  const int64_t stride = out.shape[0] > 1 ? out.stride[0] : 0, bytes = stride * int64_t(sizeof(T));
  return {out.as<T>(), stride, int(out.shape[0]), int(out.shape[1]),
          (reinterpret_cast<uintptr_t>(out.data) | uintptr_t(bytes)) % 16 == 0};
}

// What the sums start as: the bias of the columns of out, or 0.
template <class Memory, class T>
OPSWAP_DEVICE void product_begin(float (&d)[Memory::kHeld], const T *bias, TileAt tile, int n, int thread) {
  using Held = Accumulator<Memory::kColumns>;
  const int base =
      Memory::kSwap ? tile.down * Memory::kRows + thread / device::kWarpgroup * 64 : tile.across * Memory::kColumns;
  const int in_group = thread % device::kWarpgroup;
#pragma unroll
  for (int i = 0; i < Memory::kHeld; ++i) {
    const int column = base + (Memory::kSwap ? Held::row(in_group, i) : Held::column(in_group, i));
    d[i] = bias && column < n ? to_float(load<1>(bias + column)[0]) : 0.0f;
  }
}

template <class T>
OPSWAP_DEVICE uint32_t pair_of(float low, float high) {
  return from_float<T>(low).bits | uint32_t(from_float<T>(high).bits) << 16;
}

// Eight columns of D, in `d` of each lane, as piece `number` of what the warp puts out.
template <class Memory, class T>
OPSWAP_DEVICE void put_piece(unsigned char *out, const float *d, int number, int lane) {
  const uint32_t r[2] = {pair_of<T>(d[0], d[1]), pair_of<T>(d[2], d[3])};
  const int row = Memory::kSwap ? number * 8 + lane % 8 : lane % 16, chunk = Memory::kSwap ? lane / 8 % 2 : number;
  sm90::stmatrix<Memory::kSwap>(out + Swizzle<Memory::kOutRowBytes>::of(row * Memory::kOutRowBytes + chunk * 16), r);
}

// Rows of the warp's shared memory to out: staged row r is row row_of(r) of out, and begins at `column`.
template <class Memory, class T, class RowOf>
OPSWAP_DEVICE void write_rows(const ProductOut<T> &out, const unsigned char *staged, int rows, int column, int lane,
                              RowOf &&row_of) {
  constexpr int kBytes = Memory::kOutRowBytes, kAcross = kBytes / 16, kElements = 16 / int(sizeof(T));
  const int chunk = lane % kAcross, at = column + chunk * kElements;
  for (int r = lane / kAcross; r < rows; r += device::kWarp / kAcross) {
    const int row = row_of(r);
    if (row >= out.m || at >= out.n) continue;
    const auto v =
        load_shared<kElements>(reinterpret_cast<const T *>(staged + Swizzle<kBytes>::of(r * kBytes + chunk * 16)));
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

// D of two warpgroups as it lies: 64 columns at a time.
template <class Memory, class T>
OPSWAP_DEVICE void write_product(Memory &s, const float (&d)[Memory::kHeld], const ProductOut<T> &out, TileAt tile,
                                 int thread) {
  const int lane = thread % device::kWarp, warp = thread / device::kWarp;
  const int row = tile.down * Memory::kRows + warp * 16;
#pragma unroll
  for (int c = 0; c < Memory::kColumns; c += 64) {
    __syncwarp();  // the columns before have been read
#pragma unroll
    for (int piece = 0; piece < 8; ++piece) put_piece<Memory, T>(s.out[warp], d + (c + piece * 8) / 2, piece, lane);
    __syncwarp();
    write_rows<Memory>(out, s.out[warp], 16, tile.across * Memory::kColumns + c, lane, [&](int r) { return row + r; });
  }
}

// This block's sums where the others of its cluster find them: in the ring, once nobody of the block reads it.
template <class Memory>
OPSWAP_DEVICE Vec<float, 4> *sums_of(Memory &s) {
  static_assert(sizeof(float) * Memory::kRows * Memory::kColumns <= sizeof s.first, "the sums have room in the ring");
  return reinterpret_cast<Vec<float, 4> *>(s.first);
}
template <class Memory>
OPSWAP_DEVICE void share_sums(Memory &s, const float (&d)[Memory::kHeld], int thread) {
#pragma unroll
  for (int i = 0; i < Memory::kHeld; i += 4)
    store_shared(sums_of(s)[i / 4 * kProductMultiplying + thread].at,
                 Vec<float, 4>{d[i], d[i + 1], d[i + 2], d[i + 3]});
}
template <class Memory>
OPSWAP_DEVICE Vec<float, 4> sum_of_parts(Memory &s, int piece, int split, int thread) {
  Vec<float, 4> sum{};
  for (int part = 0; part < split; ++part) {
    const auto of = sm90::cluster_load(sm90::map_shared(sums_of(s) + piece * kProductMultiplying + thread, part));
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] += of[i];
  }
  return sum;
}

// D turned. Where a cluster has split K, each block puts together and writes the pieces whose number is its rank,
// modulo the split; sums of all parts are added in the order of the ranks.
template <class Memory, class T>
OPSWAP_DEVICE void write_turned(Memory &s, const float (&d)[Memory::kHeld], const ProductOut<T> &out, TileAt tile,
                                int split, int thread) {
  constexpr int kPieces = Memory::kColumns / 8;
  const int lane = thread % device::kWarp, warp = thread / device::kWarp;
  const int rank = split > 1 ? int(sm90::cluster_rank()) : 0;
  int own = 0;
  __syncwarp();  // the tile before has been read
#pragma unroll
  for (int piece = 0; piece < kPieces; ++piece) {
    if (piece % split != rank) continue;
    if (split > 1)
      put_piece<Memory, T>(s.out[warp], sum_of_parts(s, piece, split, thread).at, own++, lane);
    else
      put_piece<Memory, T>(s.out[warp], d + piece * 4, own++, lane);
  }
  __syncwarp();
  write_rows<Memory>(out, s.out[warp], own * 8, tile.down * Memory::kRows + warp * 16, lane,
                     [&](int r) { return tile.across * Memory::kColumns + (rank + r / 8 * split) * 8 + r % 8; });
}

}  // namespace opswap
