// The copy unit's wrappers one by one: every rank, every reduction of every type, multicast, edits of a map.
#include "kernels/wrap_copies.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "check.h"
#include "emulator/convert.h"

namespace opswap::emu::test {
namespace {

using namespace opswap::sm90;

constexpr int kShape[] = {8, 3, 4, 2, 3}, kBox[] = {8, 2, 2, 2, 2};

int product_of(const int *n, int rank) { return std::accumulate(n, n + rank, 1, std::multiplies<>()); }

struct Tensor {
  std::vector<float> values;
  TensorMap map;
  explicit Tensor(int rank, float first, int halved = 0) : values(size_t(product_of(kShape, rank)) + 4) {
    std::iota(values.begin(), values.end(), first);
    TensorMapSpec spec{MapType::f32, rank, data(), {}, {}, {}, MapSwizzle::none};
    for (int i = 0; i < rank; ++i) spec.shape[i] = uint64_t(kShape[i]), spec.box[i] = uint32_t(kBox[i]);
    for (int i = 1; i < rank; ++i) spec.stride[i - 1] = 4 * uint64_t(product_of(kShape, i));
    spec.box[rank - 1] /= halved ? 2 : 1;
    EXPECT(encode(map, spec) == nullptr);
  }
  float *data() {  // aligned to 16
    return values.data() + (reinterpret_cast<uintptr_t>(values.data()) % 16
                                ? 4 - reinterpret_cast<uintptr_t>(values.data()) % 16 / 4
                                : 0);
  }
};

// Where element `i` of a box at `corner` lies in the tensor, or -1 outside of it.
int place_of(int rank, const Corner &corner, int i) {
  int at = 0;
  for (int d = 0; d < rank; ++d) {
    const int index = corner.at[d] + i % kBox[d];
    if (index < 0 || index >= kShape[d]) return -1;
    at += index * product_of(kShape, d);
    i /= kBox[d];
  }
  return at;
}

const Launch kAlone{"kernel", 1, 128, sizeof(CopyTile)};
const Launch kPair{"kernel", 2, 128, sizeof(CopyTile), 2};
constexpr Corner kFrom{{4, -1, 2, 1, 1}}, kTo{{-4, 1, -1, 0, 2}};

template <int Rank, Evict Order = Evict::normal>
void check_box() {
  Tensor in(Rank, 1), out(Rank, 1000);
  std::vector<float> expected(out.data(), out.data() + product_of(kShape, Rank));
  const int count = product_of(kBox, Rank);
  EXPECT_CLEAN(launch(kAlone, wrap_box<Rank, Order>, in.map, out.map, kFrom, kTo, uint32_t(4 * count)));
  for (int i = 0; i < count; ++i) {
    const int from = place_of(Rank, kFrom, i), to = place_of(Rank, kTo, i);
    if (to >= 0) expected[size_t(to)] = from >= 0 ? in.data()[from] : 0;
  }
  EXPECT(std::equal(expected.begin(), expected.end(), out.data()));
}

template <int Rank>
void check_multicast() {
  const int half = product_of(kBox, Rank) / 2;
  Tensor in(Rank, 1, 1);
  Corner high = kFrom;
  high.at[Rank - 1] += kBox[Rank - 1] / 2;
  std::vector<float> out(size_t(4 * half) + 4, NAN);
  float *aligned = out.data() + (reinterpret_cast<uintptr_t>(out.data()) % 16 ? 2 : 0);
  EXPECT_CLEAN(launch(kPair, wrap_multicast<Rank>, in.map, reinterpret_cast<unsigned char *>(aligned), kFrom, high,
                      uint32_t(4 * half)));
  for (int i = 0; i < 4 * half; ++i) {
    const int from = place_of(Rank, kFrom, i % (2 * half));
    EXPECT(aligned[i] == (from >= 0 ? in.data()[from] : 0));
  }
}

template <int Rank>
void check_sum() {
  Tensor out(Rank, 1);
  alignas(16) static float tile[128];
  std::iota(std::begin(tile), std::end(tile), 0.5f);
  std::vector<float> expected(out.data(), out.data() + product_of(kShape, Rank));
  const int count = product_of(kBox, Rank);
  for (int i = 0; i < count; ++i)
    if (const int to = place_of(Rank, kTo, i); to >= 0) expected[size_t(to)] += 2 * tile[i];
  EXPECT_CLEAN(launch(kAlone, wrap_reduce<Rank, BulkReduce::add>, out.map,
                      reinterpret_cast<const unsigned char *>(tile), uint32_t(4 * count), kTo));
  EXPECT(std::equal(expected.begin(), expected.end(), out.data()));
}

template <class Bits>
struct Element {
  MapType type;
  Bits (*from)(float);
  float (*to)(Bits);
};

// A box of 8 x 2 at (-4, 1) of a matrix of 8 x 4.
template <BulkReduce Op, class Bits>
Report reduce(const Element<Bits> &e, bool check) {
  alignas(16) Bits matrix[32], tile[16];
  float expected[32];
  const float least = e.type == MapType::u32 ? 0 : -8;
  for (int i = 0; i < 32; ++i) matrix[i] = e.from(expected[i] = float(i * 7 % 16) + least);
  for (int i = 0; i < 16; ++i) tile[i] = e.from(float(i * 5 % 16) + least);
  TensorMapSpec spec{e.type, 2, matrix, {8, 4}, {8 * sizeof(Bits)}, {8, 2}, MapSwizzle::none};
  TensorMap map;
  EXPECT(encode(map, spec) == nullptr);
  const auto *bytes = reinterpret_cast<const unsigned char *>(tile);
  const Report report = launch(kAlone, wrap_reduce<2, Op>, map, bytes, uint32_t(sizeof tile), Corner{{-4, 1}});
  for (int i = 0; i < 16; ++i) {
    if (i % 8 < 4) continue;
    float &x = expected[(1 + i / 8) * 8 + i % 8 - 4];
    const float t = e.to(tile[i]);
    x = Op == BulkReduce::add ? x + 2 * t : Op == BulkReduce::min ? std::min(x, t) : std::max(x, t);
  }
  for (int i = 0; i < 32 && check; ++i) EXPECT(e.to(matrix[i]) == expected[i]);
  return report;
}

template <class Bits>
void check_reductions(const Element<Bits> &e) {
  EXPECT_CLEAN(reduce<BulkReduce::add>(e, true));
  if (e.type == MapType::f32) {
    EXPECT_FOUND("there is only a sum", reduce<BulkReduce::min>(e, false));
    EXPECT_FOUND("there is only a sum", reduce<BulkReduce::max>(e, false));
    return;
  }
  EXPECT_CLEAN(reduce<BulkReduce::min>(e, true));
  EXPECT_CLEAN(reduce<BulkReduce::max>(e, true));
}

}  // namespace

CASE(wrap_boxes_of_every_rank) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    check_box<1>(), check_box<2>(), check_box<3>(), check_box<4>(), check_box<5>();
    check_box<2, Evict::first>(), check_box<2, Evict::last>(), check_box<2, Evict::unchanged>();
  }
}

CASE(wrap_multicast_of_every_rank) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    check_multicast<1>(), check_multicast<2>(), check_multicast<3>(), check_multicast<4>(), check_multicast<5>();
  }
}

CASE(wrap_reductions_of_every_rank_and_type) {
  check_sum<1>(), check_sum<2>(), check_sum<3>(), check_sum<4>(), check_sum<5>();
  check_reductions(
      Element<uint32_t>{MapType::u32, [](float x) { return uint32_t(x); }, [](uint32_t x) { return float(x); }});
  check_reductions(
      Element<int32_t>{MapType::i32, [](float x) { return int32_t(x); }, [](int32_t x) { return float(x); }});
  check_reductions(Element<float>{MapType::f32, [](float x) { return x; }, [](float x) { return x; }});
  check_reductions(Element<uint16_t>{MapType::f16, float_to_fp16, fp16_to_float});
  check_reductions(Element<uint16_t>{MapType::bf16, float_to_bf16, bf16_to_float});
}

CASE(wrap_bulk_copies) {
  alignas(16) unsigned char in[256], out[4 * 256];
  std::iota(std::begin(in), std::end(in), uint8_t(3));
  for (const unsigned blocks : {1u, 2u, 4u}) {
    std::fill(std::begin(out), std::end(out), uint8_t(0));
    EXPECT_CLEAN(launch({"kernel", blocks, 32, sizeof(CopyTile), blocks}, wrap_bulk<>, out, in, uint32_t(sizeof in)));
    for (unsigned i = 0; i < 256 * blocks; ++i) EXPECT(out[i] == in[i % 256]);
  }
}

CASE(wrap_elects_one_lane_and_the_same_again) {
  uint32_t seen = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    options().seed = seed;
    uint32_t elected[2]{};
    EXPECT_CLEAN(run({"kernel", 1, 64}, [&] {
      for (uint32_t &lanes : elected)
        if (threadIdx.x < 32 && sm90::elect_one()) lanes |= 1u << threadIdx.x;
    }));
    EXPECT(std::popcount(elected[0]) == 1 && elected[0] == elected[1]);
    seen |= elected[0];
  }
  EXPECT(std::popcount(seen) > 1);  // it need not be lane 0
  EXPECT_FOUND("names lane", run({"kernel", 1, 32}, [] {
                 if (threadIdx.x < 16) return;
                 sm90::elect_one();
               }));
}

CASE(wrap_prefetches_of_what_cannot_be_fetched) {
  alignas(16) static unsigned char data[256];
  const auto ask = [](const void *from, uint32_t bytes) {
    return run({"kernel", 1, 1}, [=] { bulk_prefetch_l2(from, bytes); });
  };
  EXPECT_CLEAN(ask(data, sizeof data));
  EXPECT_FOUND("both must be multiples of 16", ask(data, 40));
  EXPECT_FOUND("both must be multiples of 16", ask(data + 4, 16));
  TensorMap map;
  const TensorMapSpec spec{MapType::u8, 2, data, {16, 16}, {16}, {16, 4}, MapSwizzle::none};
  EXPECT(encode(map, spec) == nullptr);
  EXPECT_FOUND("3 coordinates", run({"kernel", 1, 1}, [&] { tma_prefetch_l2(&map, 0, 0, 0); }));
}

CASE(wrap_map_keeps_what_l2_fetches) {
  alignas(16) static unsigned char data[256];
  TensorMapSpec spec{MapType::u8, 1, data, {256}, {}, {64}};
  TensorMap map;
  EXPECT(encode(map, spec) == nullptr && map.promotion == 2);
  spec.promotion = MapPromotion::b256;
  EXPECT(encode(map, spec) == nullptr && map.promotion == 3);
}

CASE(wrap_edited_map_is_of_another_matrix) {
  alignas(16) static int first[64], second[6 * 8];
  std::iota(std::begin(second), std::end(second), 1);
  const TensorMapSpec spec{MapType::i32, 2, first, {16, 4}, {64}, {4, 4}, MapSwizzle::none};
  alignas(128) TensorMap base, made{};
  EXPECT(encode(base, spec) == nullptr);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    options().seed = seed;
    alignas(16) int out[16];
    auto *bytes = reinterpret_cast<unsigned char *>(out);
    // 3 columns and 4 rows of a matrix whose rows are 32 bytes apart
    EXPECT_CLEAN(launch(kAlone, wrap_map_edit, &made, &base, second, 3u, 4u, uint64_t{32}, bytes));
    for (int i = 0; i < 16; ++i) EXPECT(out[i] == (i % 4 < 3 && i / 4 < 3 ? second[(1 + i / 4) * 8 + i % 4] : 0));
  }
  unsigned char out[16];
  const auto refused = [&](const void *matrix, uint32_t rows, uint64_t stride) {
    return launch(kAlone, wrap_map_edit, &made, &base, matrix, 3u, rows, stride, out);
  };
  EXPECT_FOUND("is not a multiple of 16", refused(second + 1, 4, 32));
  EXPECT_FOUND("an extent of 0", refused(second, 0, 32));
  EXPECT_FOUND("a stride of 40", refused(second, 4, 40));
  base = {};
  EXPECT_FOUND("not a tensor map made by encode()", refused(second, 4, 32));
}

// The copy unit must be told that the map has changed, also behind a barrier.
CASE(racy_edited_map_that_nobody_acquired) {
  alignas(16) static int matrix[64];
  const TensorMapSpec spec{MapType::i32, 2, matrix, {16, 4}, {64}, {4, 4}, MapSwizzle::none};
  alignas(128) TensorMap base, made{};
  EXPECT(encode(base, spec) == nullptr);
  EXPECT_CLEAN(run(kAlone, [&] {
    OPSWAP_SMEM(CopyTile, s);
    one_barrier(s);
    if (threadIdx.x < 32) {
      if (threadIdx.x == 0) s.map = base;
      __syncwarp();
      map_publish(&made, s.map);
    }
    __syncthreads();
    if (threadIdx.x != 64) return;
    mbarrier_arrive_expect(s.full, 64);
    sm90::tma_load(s.data, &made, s.full, 0, 0);
    sm90::mbarrier_wait(s.full, 0);
  }));
}

}  // namespace opswap::emu::test
