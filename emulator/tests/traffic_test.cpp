// Counters against kernels whose traffic, conflicts and products are known by hand.
#include <numeric>
#include <vector>

#include "check.h"
#include "common/device/vec.h"
#include "common/sm90/cluster.h"
#include "common/sm90/cp_async.h"
#include "common/sm90/matrix.h"
#include "common/sm90/tma.h"
#include "kernels/gemm.h"
#include "kernels/rms_norm.h"

using namespace opswap;
using namespace opswap::sm90;

namespace {

alignas(128) float from[8192], to[8192];

template <class Body>
emu::Counters counted(unsigned threads, Body body, unsigned blocks = 1, size_t smem = 65536) {
  const emu::Report report = emu::run({"test", {blocks}, {threads}, smem}, body);
  EXPECT_CLEAN(report);
  return report.counters;
}

// Every lane of a warp stores a vector to shared memory, `stride` bytes apart.
template <int N>
emu::Counters shared_stride(int stride) {
  return counted(32, [=] {
    OPSWAP_SMEM(char[65536], s);
    store_shared(reinterpret_cast<float *>(s + int(threadIdx.x) * stride), Vec<float, N>{});
  });
}

}  // namespace

CASE(counted_traffic_of_whole_vectors) {
  const auto c = counted(
      64,
      [] {
        const int at = int(blockIdx.x * 64 + threadIdx.x) * 4;
        store(to + at, load<4>(from + at));
      },
      2);
  EXPECT(c.load_bytes == 2048 && c.load_sectors == 64 && c.distinct_load_sectors == 64);
  EXPECT(c.store_bytes == 2048 && c.store_sectors == 64 && c.distinct_store_sectors == 64);
  EXPECT(c.shared_accesses == 0);
}

CASE(counted_traffic_that_is_not_coalesced) {
  const auto every_second = counted(32, [] { load<1>(from + threadIdx.x * 2); });
  EXPECT(every_second.load_bytes == 128 && every_second.load_sectors == 8);
  const auto far_apart = counted(32, [] { load<1>(from + threadIdx.x * 64); });
  EXPECT(far_apart.load_bytes == 128 && far_apart.load_sectors == 32);
  const auto shifted = counted(32, [] { load<4>(from + 4 + threadIdx.x * 4); });
  EXPECT(shifted.load_bytes == 512 && shifted.load_sectors == 17);
  const auto same = counted(64, [] { load<1>(from); });
  EXPECT(same.load_bytes == 8 && same.load_sectors == 2 && same.distinct_load_sectors == 1);
}

CASE(counted_traffic_of_loops_and_of_parts_of_a_warp) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    emu::options().seed = seed;
    const auto loop = counted(32, [] {
      for (int i = 0; i < 5; ++i) load<1>(from + i * 32 + threadIdx.x);
    });
    EXPECT(loop.load_bytes == 640 && loop.load_sectors == 20);
    // lane i goes round i + 1 times: in round k lanes k to 31 load words k to 31
    const auto triangle = counted(32, [] {
      for (unsigned k = 0; k <= threadIdx.x; ++k) load<1>(from + threadIdx.x);
    });
    EXPECT(triangle.load_bytes == 4 * 33 * 16 && triangle.load_sectors == 8 * (4 + 3 + 2 + 1));
    // what lies before a meeting of the lanes is not joined with what lies after it
    const auto halves = counted(32, [] {
      for (unsigned i = 0; i < 2; ++i) {
        if (threadIdx.x / 16 == i) load<1>(from);
        __syncwarp();
      }
    });
    EXPECT(halves.load_sectors == 2 && halves.distinct_load_sectors == 1);
    const auto blockwide = counted(64, [] {
      for (unsigned i = 0; i < 2; ++i) {
        if (threadIdx.x % 32 / 16 == i) load<1>(from);
        __syncthreads();
      }
    });
    EXPECT(blockwide.load_sectors == 4 && blockwide.barrier_waits == 4);
  }
}

CASE(counted_bank_conflicts_of_every_width) {
  const auto check = [](const emu::Counters &c, uint64_t passes, uint64_t conflicts) {
    EXPECT(c.shared_accesses == 1 && c.shared_passes == passes && c.bank_conflicts == conflicts);
    EXPECT(c.store_bytes == 0);
  };
  check(shared_stride<1>(4), 1, 0);
  check(shared_stride<1>(8), 2, 1);
  check(shared_stride<1>(128), 32, 31);
  check(shared_stride<1>(132), 1, 0);
  check(shared_stride<1>(0), 1, 0);  // one word for all
  check(shared_stride<2>(8), 2, 0);
  check(shared_stride<2>(128), 32, 30);
  check(shared_stride<4>(16), 4, 0);
  check(shared_stride<4>(32), 8, 4);
  check(shared_stride<4>(128), 32, 28);
  check(shared_stride<4>(144), 4, 0);
}

CASE(global_and_shared_memory_are_not_mixed_up) {
  const auto found = [](bool store_global) {
    return emu::run({"test", {1}, {32}, 512}, [=] {
      OPSWAP_SMEM(float[128], s);
      if (store_global)
        store(s + threadIdx.x * 4, Vec<float, 4>{});
      else
        load_shared<4>(from + threadIdx.x * 4);
    });
  };
  EXPECT_FOUND("a global access to shared memory", found(true));
  EXPECT_FOUND("not in this block's shared memory", found(false));
}

CASE(counted_bank_conflicts_of_ldmatrix) {
  const auto rows = [](bool swizzled) {
    return counted(32, [=] {
      OPSWAP_SMEM(char[65536], s);
      uint32_t r[4];
      const unsigned row = threadIdx.x % 8, chunk = threadIdx.x / 8;
      ldmatrix(r, s + row * 128 + (swizzled ? chunk ^ row : chunk) * 16);
    });
  };
  EXPECT(rows(false).shared_passes == 32 && rows(false).bank_conflicts == 28);
  EXPECT(rows(true).shared_passes == 4 && rows(true).bank_conflicts == 0);
}

CASE(counted_traffic_of_copy_units) {
  TensorMapSpec spec{MapType::f32, 2, from, {10, 6}, {48}, {8, 4}};
  TensorMap map;
  EXPECT(encode(map, spec) == nullptr);
  const auto box = counted(
      32,
      [&] {
        OPSWAP_SMEM(GemmTile, s);
        if (threadIdx.x) return;
        mbarrier_init(s.full[0], 1);
        mbarrier_arrive_expect(s.full[0], 128 + 256);
        tma_load(s.a, &map, s.full[0], 4, 4);      // inside: words 4 to 9 of rows 4 and 5
        bulk_load(s.b, from + 4, 256, s.full[0]);  // from the middle of a sector
        mbarrier_wait(s.full[0], 0);
      },
      1, sizeof(GemmTile));
  EXPECT(box.load_bytes == 2 * 24 + 256 && box.load_sectors == (2 + 1) + 9 && box.mbarrier_waits == 1);
  const auto small = counted(32, [] {
    OPSWAP_SMEM(char[65536], s);
    cp_async<16>(s + threadIdx.x * 16, from + threadIdx.x * 4, 8);
    cp_async_commit();
    cp_async_wait();
  });
  EXPECT(small.load_bytes == 256 && small.load_sectors == 16);
  EXPECT(small.shared_passes == 4 && small.bank_conflicts == 0);
}

CASE(counted_traffic_of_rms_norm) {
  constexpr int kRows = 3, kColumns = 2048;
  alignas(128) static bf16 x[kRows * kColumns], weight[kColumns], out[kRows * kColumns];
  const auto r = emu::launch({"rms_norm", {kRows}, {256}, 0}, rms_norm_example<bf16, 256>, &out[0], &x[0], &weight[0],
                             kColumns, 1e-6f);
  EXPECT_CLEAN(r);
  const uint64_t row = kColumns * 2;  // read twice, since this example keeps nothing in registers
  EXPECT(r.counters.load_bytes == kRows * 3 * row && r.counters.load_sectors == kRows * 3 * row / 32);
  EXPECT(r.counters.distinct_load_sectors == (kRows + 1) * row / 32);
  EXPECT(r.counters.store_bytes == kRows * row && r.counters.distinct_store_sectors == kRows * row / 32);
  EXPECT(r.counters.shared_accesses == kRows * (8 + 8) && r.counters.bank_conflicts == 0);
  EXPECT(r.counters.barrier_waits == kRows * 8);
}

CASE(counted_useful_rows_and_columns_of_products) {
  constexpr int kM = 40, kN = 136, kK = 144, kSteps = 2, kChunks = 5;  // of 32 bytes of K, the last one half full
  std::vector<unsigned char> a(kM * kK, 0x38), b(kN * kK, 0x38);
  std::vector<float> c(size_t(kM) * kN);
  TensorMap maps[2];
  const void *data[] = {a.data(), b.data()};
  for (int i = 0; i < 2; ++i) {
    TensorMapSpec spec{MapType::u8, 2, data[i], {kK, uint64_t(i ? kN : kM)}, {kK}, {128, 128}, MapSwizzle::b128};
    EXPECT(encode(maps[i], spec) == nullptr);
  }
  const auto r = emu::launch({"gemm", {2, 1}, {GemmTile::kThreads}, sizeof(GemmTile)}, gemm_example<MatrixType::e4m3>,
                             maps[0], maps[1], c.data(), kM, kN, kSteps);
  EXPECT_CLEAN(r);
  const uint64_t products = 2 * 2 * kSteps * 4;  // blocks, warpgroups, steps, chunks of a step
  EXPECT(r.counters.wgmmas == products && r.counters.wgmma_rows == 64 * products);
  EXPECT(r.counters.wgmma_useful_rows == 2 * kM * kChunks);
  EXPECT(r.counters.wgmma_columns == 128 * products && r.counters.wgmma_useful_columns == 2 * kN * kChunks);
  EXPECT(r.counters.load_bytes == 2 * kM * kK + kN * kK);
  EXPECT(r.counters.mbarrier_waits == 2 * 8 * kSteps && r.counters.barrier_waits == 2 * 12);
}

CASE(counted_bytes_of_peers) {
  const auto report = emu::run({"test", {4}, {32}, sizeof(int4[32]), {2}}, [] {
    OPSWAP_SMEM(int4[32], s);
    cluster_store(map_shared(s + threadIdx.x, 1 - cluster_rank()), int4{});
    cluster_sync();
    if (threadIdx.x < 5) cluster_load(map_shared(&s[threadIdx.x].x, 1 - cluster_rank()));
    cluster_sync();
  });
  EXPECT(report.counters.peer_store_bytes == 4 * 32 * 16);
  EXPECT(report.counters.peer_load_bytes == 4 * 5 * 4);
}

CASE(counted_launches_are_told_as_json) {
  opswap_emulator_launches(1);
  counted(32, [] { load<1>(from + threadIdx.x); });
  const std::string text = opswap_emulator_launches(1);
  EXPECT(text.find("[{\"kernel\":\"test\",\"grid\":[1,1,1],\"block\":[32,1,1],\"smem\":65536,\"ok\":true,\"counters\":{"
                   "\"switches\":") == 0);
  EXPECT(text.find("\"load_bytes\":128,\"load_sectors\":4,") != std::string::npos);
  EXPECT(std::string(opswap_emulator_launches(0)) == "[]");
}
