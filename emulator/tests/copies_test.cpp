// Copies by TMA and cp.async, and matrices by ldmatrix and stmatrix: what each moves, and what each refuses.
#include <algorithm>
#include <numeric>
#include <vector>

#include "check.h"
#include "common/sm90/cp_async.h"
#include "common/sm90/matrix.h"
#include "common/sm90/tma.h"
#include "common/sm90/wgmma.h"
#include "emulator/convert.h"

namespace opswap::sm90 {
namespace {

struct Tile {
  alignas(1024) unsigned char data[4096];
  Mbarrier bar;
};

__global__ void load_box(const __grid_constant__ TensorMap map, float *out, int x, int y, int z, int expected) {
  OPSWAP_SMEM(Tile, s);
  if (threadIdx.x == 0) {
    mbarrier_init(s.bar, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(s.bar, expected);
    tma_load(s.data, &map, s.bar, x, y, z);
  }
  __syncthreads();
  mbarrier_wait(s.bar, 0);
  for (int i = threadIdx.x; i < 96; i += 32) out[i] = reinterpret_cast<float *>(s.data)[i];
}

__global__ void store_box(const __grid_constant__ TensorMap map, int x, int y, int z, int wait, int add) {
  OPSWAP_SMEM(Tile, s);
  for (int i = threadIdx.x; i < 96; i += 32) reinterpret_cast<float *>(s.data)[i] = float(i + 1);
  fence_async_proxy();
  __syncthreads();
  if (threadIdx.x != 0) return;
  if (add)
    tma_reduce(&map, s.data, x, y, z);
  else
    tma_store(&map, s.data, x, y, z);
  tma_commit();
  if (wait) tma_wait_read();
}

__global__ void copy_by_cp_async(float *out, const float *in, int valid, int wait) {
  OPSWAP_SMEM(Tile, s);
  float *mine = reinterpret_cast<float *>(s.data) + threadIdx.x * 4;
  cp_async<16>(mine, in + threadIdx.x * 4, valid);
  cp_async_commit();
  if (wait) cp_async_wait();
  for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = mine[i];
}

__global__ void arrive_after_cp_async(float *out, const float *in) {
  OPSWAP_SMEM(Tile, s);
  if (threadIdx.x == 0) mbarrier_init(s.bar, 32);
  __syncthreads();
  cp_async<4>(s.data + threadIdx.x * 4, in + threadIdx.x);
  cp_async_arrive(s.bar);
  mbarrier_wait(s.bar, 0);
  out[threadIdx.x] = reinterpret_cast<float *>(s.data)[31 - threadIdx.x];
}

__global__ void transpose(uint16_t *out, const uint16_t *in) {
  OPSWAP_SMEM(Tile, s);
  uint16_t *tile = reinterpret_cast<uint16_t *>(s.data);
  for (int i = threadIdx.x; i < 256; i += 32) tile[i] = in[i];
  __syncwarp();
  uint32_t r[4];
  ldmatrix<true>(r, tile + threadIdx.x * 8);
  __syncwarp();
  stmatrix(tile + threadIdx.x * 8, r);
  __syncwarp();
  for (int i = threadIdx.x; i < 256; i += 32) out[i] = tile[i];
}

}  // namespace
}  // namespace opswap::sm90

namespace opswap::emu::test {
namespace {

using namespace opswap::sm90;

TensorMap map3(const float *p, MapSwizzle swizzle = MapSwizzle::none) {
  TensorMapSpec spec{MapType::f32, 3, p, {10, 6, 5}, {48, 48 * 6}, {8, 4, 3}, swizzle};
  TensorMap map;
  EXPECT(encode(map, spec) == nullptr);
  return map;
}

const Launch kWarpLaunch{"kernel", 1, 32, sizeof(Tile)};

}  // namespace

CASE(tma_load_fills_what_is_outside_with_zero) {
  std::vector<float> in(12 * 6 * 5);
  std::iota(in.begin(), in.end(), 1.0f);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    std::vector<float> out(96, NAN);
    EXPECT_CLEAN(launch(kWarpLaunch, load_box, map3(in.data()), out.data(), 4, -1, 3, 384));
    for (int i = 0; i < 96; ++i) {
      const int x = 4 + i % 8, y = -1 + i / 8 % 4, z = 3 + i / 32;
      EXPECT(out[i] == (x < 10 && y >= 0 && z < 5 ? in[x + 12 * (y + 6 * z)] : 0.0f));
    }
  }
}

CASE(tma_swizzle_is_an_exclusive_or_of_rows_and_chunks) {
  std::vector<float> in(12 * 6 * 5), out(96);
  std::iota(in.begin(), in.end(), 1.0f);
  EXPECT_CLEAN(launch(kWarpLaunch, load_box, map3(in.data(), MapSwizzle::b32), out.data(), 0, 0, 0, 384));
  for (int i = 0; i < 96; ++i) {
    const int at = (i * 4 ^ (i * 4 >> 3 & 16)) / 4;
    EXPECT(out[at] == in[i % 8 + 12 * (i / 8 % 4 + 6 * (i / 32))]);
  }
}

CASE(tma_wrong_byte_count_is_found) {
  std::vector<float> in(12 * 6 * 5, 1.0f), out(96);
  EXPECT_FOUND("deadlock", launch(kWarpLaunch, load_box, map3(in.data()), out.data(), 0, 0, 0, 400));
  EXPECT_FOUND("deadlock", launch(kWarpLaunch, load_box, map3(in.data()), out.data(), 0, 0, 0, 368));
}

CASE(tma_store_and_reduce_write_only_inside) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    std::vector<float> memory(12 * 6 * 5, 0.5f);
    EXPECT_CLEAN(launch(kWarpLaunch, store_box, map3(memory.data()), 4, -1, 3, 1, 0));
    EXPECT_CLEAN(launch(kWarpLaunch, store_box, map3(memory.data()), 4, -1, 3, 1, 1));
    for (int z = 0; z < 5; ++z)
      for (int y = 0; y < 6; ++y)
        for (int x = 0; x < 12; ++x) {
          const bool inside = x >= 4 && x < 10 && y < 3 && z >= 3;
          const int i = (x - 4) + 8 * (y + 1) + 32 * (z - 3);
          EXPECT(memory[x + 12 * (y + 6 * z)] == (inside ? 2.0f * float(i + 1) : 0.5f));
        }
  }
}

CASE(tma_store_without_wait_is_found) {
  options().seed = 1;
  std::vector<float> memory(12 * 6 * 5);
  EXPECT_FOUND("missing tma_wait_read", launch(kWarpLaunch, store_box, map3(memory.data()), 0, 0, 0, 0, 0));
}

CASE(tensor_maps_are_refused_as_the_driver_does) {
  alignas(16) static float data[64];
  TensorMap map;
  TensorMapSpec good{MapType::f32, 2, data, {8, 4}, {32}, {8, 4}, MapSwizzle::b32};
  EXPECT(encode(map, good) == nullptr);
  auto refused = [&](auto change) {
    TensorMapSpec spec = good;
    change(spec);
    return encode(map, spec) != nullptr;
  };
  EXPECT(refused([](auto &s) { s.stride[0] = 36; }));
  EXPECT(refused([](auto &s) { s.box[0] = 3; }));
  EXPECT(refused([](auto &s) { s.box[0] = 16; }));
  EXPECT(refused([](auto &s) { s.box[1] = 257; }));
  EXPECT(refused([](auto &s) { s.address = data + 1; }));
  EXPECT(refused([](auto &s) { s.rank = 6; }));
}

CASE(cp_async_zero_fills_and_must_be_waited_for) {
  std::vector<float> in(128), out(128);
  std::iota(in.begin(), in.end(), 1.0f);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    EXPECT_CLEAN(launch(kWarpLaunch, copy_by_cp_async, out.data(), in.data(), 8, 1));
    for (int i = 0; i < 128; ++i) EXPECT(out[i] == (i % 4 < 2 ? in[i] : 0.0f));
  }
  options().seed = 1;
  std::fill(out.begin(), out.end(), 0.0f);
  launch(kWarpLaunch, copy_by_cp_async, out.data(), in.data(), 16, 0);
  EXPECT(std::isnan(out[0]));  // a late copy has not come: the reader sees the poison
}

CASE(cp_async_arrives_at_an_mbarrier) {
  std::vector<float> in(32), out(32);
  std::iota(in.begin(), in.end(), 1.0f);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    EXPECT_CLEAN(launch(kWarpLaunch, arrive_after_cp_async, out.data(), in.data()));
    for (int i = 0; i < 32; ++i) EXPECT(out[i] == in[31 - i]);
  }
}

CASE(ldmatrix_transposes_and_stmatrix_writes_back) {
  std::vector<uint16_t> in(256), out(256);
  std::iota(in.begin(), in.end(), uint16_t(1));
  EXPECT_CLEAN(launch(kWarpLaunch, transpose, out.data(), in.data()));
  for (int m = 0; m < 4; ++m)
    for (int r = 0; r < 8; ++r)
      for (int c = 0; c < 8; ++c) EXPECT(out[m * 64 + r * 8 + c] == in[m * 64 + c * 8 + r]);
}

}  // namespace opswap::emu::test
