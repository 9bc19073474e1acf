// out = input between any strides, for the rooms copy and copy_async: rows, turned tiles, and the copy engine.
#pragma once

#include "common/device/copy_box.h"
#include "device_copy.h"

namespace opswap::OPSWAP_PASS {

constexpr int kTile = 32;  // a warp reads 32 words in the one order and writes 32 in the other
constexpr int kLines = 8;  // rows of a tile that a block moves at once
constexpr int64_t kTileBlocksPerSm = 8;

// The row of `to` is the innermost dimension, that of `from` is dimension 2. Tiles turn in shared memory, a word longer
// than a tile in one direction, so that neither direction meets a bank twice.
template <class Word>
__global__ void __launch_bounds__(kTile *kLines)
    copy_turned_kernel(Word *to, const Word *from, const __grid_constant__ Box b) {
  OPSWAP_SHARED(Word[kTile][kTile + 1], tile);
  dependency_wait();
  dependency_trigger();
  const int64_t down = ceil_div<int64_t>(b.shape[2], kTile), across = ceil_div<int64_t>(b.shape[3], kTile);
  const int64_t tiles = b.shape[0] * b.shape[1] * down * across;
  for (int64_t n = blockIdx.x; n < tiles; n += gridDim.x) {
    const int64_t i3 = n % across * kTile, i2 = n / across % down * kTile, outer = n / across / down;
    const int64_t i1 = outer % b.shape[1], i0 = outer / b.shape[1];
    const Word *source = from + i0 * b.from[0] + i1 * b.from[1];
    Word *target = to + i0 * b.to[0] + i1 * b.to[1];
#pragma unroll
    for (int line = threadIdx.y; line < kTile; line += kLines)
      if (i3 + line < b.shape[3] && i2 + threadIdx.x < b.shape[2])
        store_shared(&tile[line][threadIdx.x], load<1>(source + (i3 + line) * b.from[3] + i2 + threadIdx.x));
    __syncthreads();
#pragma unroll
    for (int line = threadIdx.y; line < kTile; line += kLines)
      if (i2 + line < b.shape[2] && i3 + threadIdx.x < b.shape[3])
        store(target + (i2 + line) * b.to[2] + i3 + threadIdx.x, load_shared<1>(&tile[threadIdx.x][line]));
    __syncthreads();
  }
}

// The outer dimension whose elements lie side by side in `from`, brought to place 2; false when there is none, or when
// tiles would stay all but empty.
inline bool turned(Box &b) {
  if (b.rows() || b.to[3] != 1) return false;
  for (int d = 0; d + 1 < kBoxRank; ++d) {
    if (b.from[d] != 1 || b.shape[d] < kLines || b.shape[3] < kLines) continue;
    std::swap(b.shape[d], b.shape[2]), std::swap(b.to[d], b.to[2]), std::swap(b.from[d], b.from[2]);
    return true;
  }
  return false;
}

inline opswap_status copy_turned(const opswap_exec &exec, const BoxCopy &c, int64_t element) {
  const Box &b = c.box;
  const int64_t tiles =
      b.shape[0] * b.shape[1] * ceil_div<int64_t>(b.shape[2], kTile) * ceil_div<int64_t>(b.shape[3], kTile);
  const Geometry geometry{
      .grid = {std::min(tiles, sms_of(exec) * kTileBlocksPerSm)}, .block = {kTile, kLines}, .pdl = true};
  return with_word(element, [&]<class Word>(Word) {
    return launch(exec, "copy_turned_kernel", copy_turned_kernel<Word>, geometry, static_cast<Word *>(c.to),
                  static_cast<const Word *>(c.from), b);
  });
}

// One run: as many of the widest words as its addresses allow, then the rest of it.
inline opswap_status copy_run(const opswap_exec &exec, BoxCopy c, int64_t element) {
  const int64_t word =
      widest_access({int64_t(reinterpret_cast<uintptr_t>(c.to) | reinterpret_cast<uintptr_t>(c.from))});
  const int64_t length = c.box.shape[3], rest = length * element % word / element;
  c.box.shape[3] = length - rest;
  if (opswap_status e = copy_boxes<1>(exec, {{c}}, element)) return e;
  if (!rest) return OPSWAP_OK;
  c.to = static_cast<char *>(c.to) + (length - rest) * element;
  c.from = static_cast<const char *>(c.from) + (length - rest) * element;
  c.box.shape[3] = rest;
  return copy_boxes<1>(exec, {{c}}, element);
}

// Kernels do not reach pageable host memory: the copy engine moves the rows.
inline bool between_memories(const Tensor &out, const Tensor &input) { return out.on_host != input.on_host; }

inline opswap_status copy_between(const opswap_exec &exec, const BoxCopy &c, int64_t element) {
  const Box &b = c.box;
  const auto bytes = [&](const int64_t *stride, int64_t i, int64_t j) {
    return (i * stride[0] + j * stride[1]) * element;
  };
  for (int64_t i = 0; i < b.shape[0]; ++i)
    for (int64_t j = 0; j < b.shape[1]; ++j)
      if (opswap_status e =
              copy_memory(exec, {static_cast<char *>(c.to) + bytes(b.to, i, j),
                                 static_cast<const char *>(c.from) + bytes(b.from, i, j), b.to[2] * element,
                                 b.from[2] * element, b.shape[3] * element, b.shape[2]}))
        return e;
  return OPSWAP_OK;
}

inline const char *copy_refusal(const Tensor &out, const Tensor &input) {
  if (!between_memories(out, input)) return nullptr;
  const Box box = make_box(out.shape, out.stride, input.stride);
  return box.rows() || !box.elements() ? nullptr
                                       : "between host and device memory the innermost runs need to be contiguous";
}

// out = input, of one shape and dtype, in device memory or one of them in host memory.
inline opswap_status copy_tensor(const opswap_exec &exec, const Tensor &out, const Tensor &input) {
  const int64_t element = dtype_bytes(out.dtype);
  BoxCopy c{out.data, input.data, make_box(out.shape, out.stride, input.stride)};
  if (between_memories(out, input)) return copy_between(exec, c, element);
  if (c.box.elements() && turned(c.box)) return copy_turned(exec, c, element);
  const bool one_run = c.box.rows() && c.box.elements() == c.box.shape[3];
  return one_run ? copy_run(exec, c, element) : copy_boxes<1>(exec, {{c}}, element);
}

}  // namespace opswap::OPSWAP_PASS
