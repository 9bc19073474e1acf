// The emulator's asynchronous units, as the wrappers call them: copies, matrices of a warp, matrix products.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opswap::emu {

// 128 bytes as on the device, with fields of the emulator's own.
struct alignas(64) TensorMap {
  uint32_t mark = 0;
  uint8_t type = 0, rank = 0, swizzle = 0, element = 0;
  uint64_t address = 0;
  uint64_t stride[4]{};  // bytes, of dimensions 1 and up
  uint32_t shape[5]{};
  uint16_t box[5]{};
  uint8_t promotion = 0;
  uint8_t unused[49]{};
};
static_assert(sizeof(TensorMap) == 128);

struct MapRequest {
  int type, rank;
  const void *address;
  const uint64_t *shape, *stride;
  const uint32_t *box;
  int swizzle, promotion;
};
const char *encode(TensorMap &map, const MapRequest &request);  // nullptr, or why there is no such map
void edit_address(TensorMap *map, const void *address);
void edit_extent(TensorMap *map, int dim, uint32_t extent);
void edit_stride(TensorMap *map, int dim, uint64_t bytes);
void publish_map(TensorMap *global, const TensorMap *map);
void acquire_map(const TensorMap *global);

void tma_load(void *smem, const TensorMap *map, uint64_t *barrier, const int *at, size_t rank);
// Bit i of `blocks` is the block of rank i of the cluster; all get it at the same place.
void tma_load_multicast(void *smem, const TensorMap *map, uint64_t *barrier, const int *at, size_t rank,
                        uint32_t blocks);
void tma_store(const TensorMap *map, const void *smem, const int *at, size_t rank, int reduce);  // -1: plain store
void bulk_load(void *smem, const void *global, uint32_t bytes, uint64_t *barrier);
void bulk_load_multicast(void *smem, const void *global, uint32_t bytes, uint64_t *barrier, uint32_t blocks);
void bulk_store(void *global, const void *smem, uint32_t bytes);
void tma_prefetch(const TensorMap *map, const int *at, size_t rank);
void bulk_prefetch(const void *global, uint32_t bytes);
void bulk_commit();
void bulk_wait(int pending, bool read_only);

void cp_async(void *smem, const void *global, uint32_t bytes, uint32_t valid);
void cp_async_commit();
void cp_async_wait(int pending);
void cp_async_arrive(uint64_t *barrier);

void ldmatrix(uint32_t *registers, int count, bool transposed, const void *row);
void stmatrix(void *row, const uint32_t *registers, int count, bool transposed);

struct MatrixProduct {
  float *d;
  int n, type_a, type_b, major_a, major_b;
  bool accumulate, a_in_registers;
  uint64_t a, b;
  uint32_t registers[4];
};
void wgmma(const MatrixProduct &product);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int pending);
void fence_async_proxy();

}  // namespace opswap::emu
