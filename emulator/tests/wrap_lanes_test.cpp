// The wrappers of accesses of a thread and of a warp, and of barriers, one by one; kernels that nvcc compiles too.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "check.h"
#include "kernels/wrap_lanes.h"
#include "kernels/wrap_sync.h"

namespace opswap::emu::test {
namespace {

using namespace opswap::sm90;

template <class Word>
void check_words() {
  alignas(16) Word in[32], out[32];
  auto *bytes = reinterpret_cast<unsigned char *>(in);
  std::iota(bytes, bytes + sizeof in, uint8_t(1));
  EXPECT_CLEAN(launch({"kernel", 1, 32}, wrap_words<Word>, out, in));
  for (int i = 0; i < 32; ++i) EXPECT(!std::memcmp(&out[i], &in[31 - i], sizeof(Word)));
}

template <class Word>
void check_words_if() {
  alignas(16) Word in[32], out[64];
  std::iota(reinterpret_cast<unsigned char *>(in), reinterpret_cast<unsigned char *>(in + 32), uint8_t(1));
  const uint32_t four[4] = {0x3f803f80, 0x3f803f80, 0x3f803f80, 0x3f803f80};
  EXPECT_CLEAN(launch({"kernel", 1, 32}, wrap_words_if<Word>, out, in, four[0]));
  for (int i = 0; i < 64; ++i)
    EXPECT(!std::memcmp(&out[i], i < 32 && i % 2 == 0 ? static_cast<const void *>(&in[i]) : four, sizeof(Word)));
}

template <int Bytes>
void check_cp_async(uint32_t missing) {
  alignas(16) unsigned char in[64 * Bytes], out[64 * Bytes];
  std::iota(std::begin(in), std::end(in), uint8_t(1));
  EXPECT_CLEAN(launch({"kernel", 1, 32}, wrap_cp_async<Bytes>, out, in, missing));
  for (int i = 0; i < 32 * Bytes; ++i) EXPECT(out[i] == (i % Bytes < Bytes - int(missing) ? in[i] : 0));
  for (int i = 0; i < 32 * Bytes; ++i)
    EXPECT(out[32 * Bytes + i] == in[32 * Bytes + (31 - i / Bytes) * Bytes + i % Bytes]);
}

template <int Count, bool Load, bool Store>
void check_matrices() {
  std::vector<uint16_t> in(Count * 64), out(Count * 64);
  std::vector<uint32_t> registers(Count * 32);
  std::iota(in.begin(), in.end(), uint16_t(1));
  EXPECT_CLEAN(launch({"kernel", 1, 32}, wrap_matrices<Count, Load, Store>, out.data(), registers.data(), in.data()));
  for (int m = 0; m < Count; ++m)
    for (int i = 0; i < 64; ++i) {
      const int row = i / 8, column = i % 8, turned = m * 64 + column * 8 + row;
      EXPECT(out[size_t(m * 64 + i)] == in[size_t(Load == Store ? m * 64 + i : turned)]);
      const uint32_t held = registers[size_t(m * 32 + row * 4 + column / 2)] >> column % 2 * 16 & 0xffff;
      EXPECT(held == in[size_t(Load ? turned : m * 64 + i)]);
    }
}

template <int Count>
void check_both_ways() {
  check_matrices<Count, false, false>(), check_matrices<Count, true, false>();
  check_matrices<Count, false, true>(), check_matrices<Count, true, true>();
}

}  // namespace

CASE(wrap_words_of_every_width) {
  check_words<uint8_t>(), check_words<uint16_t>(), check_words<uint32_t>();
  check_words<uint2>(), check_words<uint4>();
}

CASE(wrap_words_that_may_not_be_there) {
  check_words_if<uint8_t>(), check_words_if<uint16_t>(), check_words_if<uint32_t>();
  check_words_if<uint2>(), check_words_if<uint4>();
}

CASE(wrap_cp_async_of_every_width) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    check_cp_async<4>(0), check_cp_async<8>(0), check_cp_async<16>(0);
    check_cp_async<4>(4), check_cp_async<8>(3), check_cp_async<16>(7);
  }
}

CASE(wrap_matrices_of_every_count) { check_both_ways<1>(), check_both_ways<2>(), check_both_ways<4>(); }

CASE(wrap_mbarriers_in_turn) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    options().seed = seed;
    int out[128]{};
    EXPECT_CLEAN(launch({"kernel", 1, 64}, wrap_mbarrier, out));
    for (int i = 0; i < 128; ++i) EXPECT(out[i] == i / 32 * 100 + 31 - i % 32);
  }
}

CASE(wrap_named_barriers_in_turn) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    int out[384]{};
    EXPECT_CLEAN(launch({"kernel", 1, 256}, wrap_named_barriers, out));
    for (int i = 0; i < 384; ++i) EXPECT(out[i] == i / 128 * 1000 + 127 - i % 128);
  }
}

CASE(wrap_programmatic_launch) {
  int in[32], out[32];
  std::iota(std::begin(in), std::end(in), 5);
  EXPECT_CLEAN(launch({"kernel", 1, 32}, wrap_pdl, out, in));
  for (int i = 0; i < 32; ++i) EXPECT(out[i] == in[i] + 1);
}

CASE(wrap_clusters_of_every_shape) {
  for (const dim3 cluster : {dim3(1), dim3(2), dim3(1, 4), dim3(2, 1, 2), dim3(4, 4)}) {
    const dim3 grid(2 * cluster.x, cluster.y, 2 * cluster.z);
    const int blocks = int(grid.x * grid.y * grid.z), in_cluster = int(cluster.x * cluster.y * cluster.z);
    std::vector<Ids> ids(size_t(blocks), Ids{});
    std::vector<int> out(size_t(blocks) * 128);
    EXPECT_CLEAN(launch({"kernel", grid, 32, 0, cluster}, wrap_cluster, ids.data(), out.data()));
    const auto number = [&](uint3 of, int rank) {
      const unsigned x = unsigned(rank) % cluster.x, y = unsigned(rank) / cluster.x % cluster.y;
      const unsigned z = unsigned(rank) / cluster.x / cluster.y;
      return int(of.x * cluster.x + x + grid.x * (of.y * cluster.y + y + grid.y * (of.z * cluster.z + z)));
    };
    for (int b = 0; b < blocks; ++b) {
      const Ids &id = ids[size_t(b)];
      const int rank = int(id.rank);
      const int before = number(id.cluster, (rank + in_cluster - 1) % in_cluster);
      const int next = number(id.cluster, (rank + 1) % in_cluster);
      EXPECT(int(id.blocks) == in_cluster && number(id.cluster, rank) == b);
      EXPECT(id.rank == id.in_cluster.x + cluster.x * (id.in_cluster.y + cluster.y * id.in_cluster.z));
      for (int i = 0; i < 32; ++i) {
        const int *row = &out[size_t(b) * 128];
        const int stored[] = {before, i / 4 * 4, 0, 0};
        EXPECT(row[i] == stored[i % 4] && row[32 + i] == before * 32 + i);
        EXPECT(row[64 + i] == next * 32 + i && row[96 + i] == b * 32 + i);
      }
    }
  }
}

}  // namespace opswap::emu::test
