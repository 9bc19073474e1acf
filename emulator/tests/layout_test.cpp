// The layout algebra, mostly by the compiler; thread-value maps and swizzles against what the units of the emulator do.
#include "common/device/layout.h"

#include <set>

#include "check.h"
#include "common/sm90/tma.h"

using namespace opswap;

namespace {

static_assert(row_major(4, 8)[1] == 8 && row_major(4, 8)[4] == 1 && row_major(4, 8)[31] == 31);
static_assert(column_major(4, 8)[5] == 5 && column_major(4, 8).size() == 32 && column_major(4, 8).cosize() == 32);
static_assert(modes({3, 2}, {2, 16}).cosize() == 21);

static_assert(coalesce(column_major(4, 8)) == modes({32}, {1}));
static_assert(coalesce(modes({2, 1, 4, 3}, {1, 7, 2, 16})) == modes({8, 3}, {1, 16}));
static_assert(coalesce(modes({1}, {5})) == modes({1}, {0}));

static_assert(compose(row_major(4, 8), modes({8}, {4})) == modes({8}, {1}));        // the first row
static_assert(compose(row_major(4, 8), modes({4}, {1})) == modes({4}, {8}));        // the first column
static_assert(compose(row_major(4, 8), modes({8}, {1})) == modes({4, 2}, {8, 1}));  // and half of ...
static_assert(compose(modes({6, 2}, {8, 2}), modes({4, 3}, {3, 1})) == modes({2, 2, 3}, {24, 2, 8}));
static_assert(compose(row_major(4, 8), modes({2, 4}, {0, 4})) == modes({2, 4}, {0, 1}));

static_assert(tile(row_major(8, 16), {2, 4}) == modes({2, 4, 4, 4}, {16, 1, 32, 4}));

using Four = Layout<row_major(4, 8)>;
static_assert(Four::at(2, 3) == 19 && Four::of(6) == 17 && Four::kRank == 2 && Four::kSize == 32);
static_assert(Layout<tile(row_major(8, 16), {2, 4})>::at(1, 2, 3, 1) == (3 * 2 + 1) * 16 + 1 * 4 + 2);

static_assert(Swizzle<128>::of(128 * 3 + 16 * 5) == 128 * 3 + 16 * (5 ^ 3));
static_assert(Swizzle<64>::of(128 * 3 + 16 * 2) == 128 * 3 + 16 * (2 ^ 3) && Swizzle<16>::of(400) == 400);
static_assert(Swizzle<32>::of(128 + 16) == 128 && Swizzle<32>::of(127) == 127);

// Every element of the tile is held once.
template <class F>
void check_cover(int rows, int columns) {
  std::set<int> held;
  for (int t = 0; t < F::kThreads; ++t)
    for (int v = 0; v < F::kValues; ++v) {
      EXPECT(F::row(t, v) < rows && F::column(t, v) < columns);
      held.insert(F::row(t, v) * columns + F::column(t, v));
    }
  EXPECT(F::kThreads * F::kValues == rows * columns && int(held.size()) == rows * columns);
}

}  // namespace

CASE(layout_compose_is_composition) {
  constexpr Modes outer = modes({4, 6, 8}, {48, 1, 6}), inner = modes({2, 3, 4}, {2, 4, 24});
  constexpr Modes both = compose(outer, inner);
  for (int i = 0; i < inner.size(); ++i) EXPECT(both[i] == outer[inner[i]] && Layout<both>::of(i) == both[i]);
}

CASE(layout_fragments_cover_their_tile) {
  check_cover<Accumulator<8>>(64, 8);
  check_cover<Accumulator<256>>(64, 256);
  check_cover<RowTile<128, 128, 512, 8>>(128, 128);
  check_cover<RowTile<128, 128, 512, 4>>(128, 128);
}

CASE(layout_accumulators_are_those_of_wgmma) {
  for (int t = 0; t < 128; ++t)
    for (int i = 0; i < 64; ++i) {
      EXPECT(Accumulator<128>::row(t, i) == t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8);
      EXPECT(Accumulator<128>::column(t, i) == t % 4 * 2 + i / 4 * 8 + i % 2);
    }
}

CASE(layout_row_tile_is_contiguous_for_a_warp) {
  using Tile = RowTile<128, 128, 512, 8>;
  for (int t = 0; t < 512; ++t)
    for (int v = 0; v < Tile::kValues; ++v) {
      EXPECT(Tile::row(t, v) == t / 16 + v / 8 * 32 && Tile::column(t, v) == t % 16 * 8 + v % 8);
    }
}

// What the copy unit loads is where Swizzle says.
template <int Bytes>
static void check_swizzle(sm90::MapSwizzle swizzle) {
  using namespace opswap::sm90;
  alignas(16) static uint8_t in[16][Bytes];
  for (int i = 0; i < 16 * Bytes; ++i) in[i / Bytes][i % Bytes] = uint8_t(i * 7 % 251);
  TensorMapSpec spec{MapType::u8, 2, in, {uint64_t(Bytes), 16}, {uint64_t(Bytes)}, {uint32_t(Bytes), 16}, swizzle};
  emu::TensorMap map;
  EXPECT(encode(map, spec) == nullptr);
  int wrong = 0;
  EXPECT_CLEAN(emu::run({"test", 1, 32, 4096}, [&] {
    struct Shared {
      alignas(1024) uint8_t tile[16 * Bytes];
      Mbarrier full;
    };
    OPSWAP_SMEM(Shared, s);
    if (threadIdx.x != 0) return;
    mbarrier_init(s.full, 1);
    mbarrier_arrive_expect(s.full, sizeof s.tile);
    tma_load(s.tile, &map, s.full, 0, 0);
    mbarrier_wait(s.full, 0);
    for (int i = 0; i < 16 * Bytes; ++i) wrong += s.tile[Swizzle<Bytes>::of(i)] != in[i / Bytes][i % Bytes];
  }));
  EXPECT(wrong == 0);
}

CASE(layout_swizzle_is_that_of_the_copy_unit) {
  check_swizzle<16>(sm90::MapSwizzle::none);
  check_swizzle<32>(sm90::MapSwizzle::b32);
  check_swizzle<64>(sm90::MapSwizzle::b64);
  check_swizzle<128>(sm90::MapSwizzle::b128);
}
