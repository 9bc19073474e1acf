// Attention of many rows of queries whose products are those of FP8 codes: rows of queries become codes with a power of
// two of their own, keys and values are codes, and so are probabilities, relative to a power of two that no row's
// exceed by more than 2^8. The tiles' order and overlap are those of attention_kernel.h.
#pragma once

#include "common/device/attention_code_ring.h"
#include "common/device/attention_kernel.h"

namespace opswap {

// The softmax of two rows with scales of their own, which are above 0. Rows are relative to whole powers of two, so
// that sums shrink seldom and exactly, and a probability's code does not depend on the tiles before it.
struct CodeSoftmax : SoftmaxState {
  static constexpr float kMostPower = 8;  // of a probability's code: at most 2^8 of 448
  float scale[2];

  OPSWAP_DEVICE void settle() {}
  // values() waits for the last tile's values. It lies between the rows, when the tensor cores are about done: powers
  // of two that are made behind it become words of codes by two instructions, those in front of it by three.
  template <bool Seeing, int Held, class Values>
  OPSWAP_DEVICE void take(float (&s)[Held], float (&shrink)[2], Values &&values) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      shrink[row] = relate<Seeing>(s, row);
      if (row) values();
      total[row] = total[row] * shrink[row] + powers(s, row);
    }
  }

 private:
  // A row's scores become exponents relative to `most`; what sums shrink by. `most` grows only where an exponent is
  // above kMostPower, of 8K random keys in every fifth tile. Then, and where a row sees its first keys, exponents are
  // moved once more: a loop of its own, which `npm run sass` does not count to the pass.
  template <bool Seeing, int Held>
  OPSWAP_DEVICE float relate(float (&s)[Held], int row) {
    bool starts = !Seeing && most[row] == -INFINITY;
    float shrink = 1, top = exponents(s, row, scale[row], starts ? 0 : most[row]);
#pragma unroll 1
    while (__any_sync(device::kAllLanes, starts || top > kMostPower)) {
      const float least = starts ? -INFINITY : 0;  // which a row keeps that has not seen a key yet
      const float largest = Seeing ? largest_of_row(top) : largest_score(s, row, -INFINITY);
      const float grown = fmaxf(ceilf(largest) - kMostPower, least), from = grown == -INFINITY ? 0 : grown;
      most[row] = starts ? grown : most[row] + grown;
      shrink *= starts ? 1 : sm90::exp2_approx(-grown);
      starts = false;
      top = exponents(s, row, 1, from);
    }
    return shrink;
  }
};

// 64 rows of queries for each of two warpgroups.
template <int Head, int ValueHead, int Keys>
struct CodeMemory : CodeRing<Head, ValueHead, Keys> {
  using Softmax = CodeSoftmax;
  static constexpr bool kJoins = false;
  static constexpr int kRows = 128, kSteps = Keys / 32;
  static constexpr int kLoadingRegisters = 56, kMultiplyingRegisters = 224;
  alignas(1024) unsigned char query[kRows * Head];  // boxes of kRowBytes
  float query_scales[kRows];
  alignas(8) SeenKeys seen[kRows];
};

// The low word of a descriptor that a warp's threads have in common. The shuffle says so: it and what hangs on it stay
// in registers of the warp, worked out once.
OPSWAP_DEVICE uint32_t low_of_warp(uint64_t descriptor) {
  return __shfl_sync(device::kAllLanes, uint32_t(descriptor), 0);
}
// Rows of `RowBytes` like those of `box`, so many times 16 bytes further on than a low word says: addresses never carry
// into what is behind them.
template <int RowBytes>
OPSWAP_DEVICE uint64_t code_matrix(const unsigned char *box, uint32_t low, uint32_t sixteens = 0) {
  return sm90::matrix_descriptor(box, kSwizzle<RowBytes>, 8 * RowBytes) >> 32 << 32 | uint32_t(low + sixteens);
}

// s = queries * keys^T, 64 rows of the warpgroup by a tile of keys; not waited for.
template <sm90::MatrixType Type, int Head, int ValueHead, int Keys>
OPSWAP_DEVICE void start_keys(CodeMemory<Head, ValueHead, Keys> &s, float (&scores)[Keys / 2],
                              const AttentionTurn &turn, int stage) {
  using Memory = CodeMemory<Head, ValueHead, Keys>;
  constexpr int kBytes = Memory::kRowBytes;
  const uint64_t a = code_matrix<kBytes>(s.query, turn.query),
                 b = code_matrix<kBytes>(s.keys[0], turn.ring, uint32_t(stage) * (sizeof(s.keys[0]) / 16));
  sm90::operand_fence(scores);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Head / 32; ++i) {
    const uint32_t box = uint32_t(i) * 32 / kBytes * kBytes, byte = uint32_t(i) * 32 % kBytes;
    sm90::wgmma<Keys, Type>(scores, sm90::advance(a, box * Memory::kRows + byte), sm90::advance(b, box * Keys + byte),
                            i > 0);
  }
  sm90::wgmma_commit();
}

// sums += probabilities * values, of which neighbouring keys lie side by side; not waited for.
template <sm90::MatrixType Type, int Head, int ValueHead, int Keys>
OPSWAP_DEVICE void start_values(CodeMemory<Head, ValueHead, Keys> &s, float (&sums)[ValueHead / 2],
                                uint32_t (&p)[Keys / 32][4], const AttentionTurn &turn, int stage) {
  constexpr int kBytes = CodeMemory<Head, ValueHead, Keys>::kValueRowBytes;
  const uint32_t to_values = uint32_t(s.values[0] - s.keys[0]) / 16;
  const uint64_t b =
      code_matrix<kBytes>(s.values[0], turn.ring, to_values + uint32_t(stage) * (sizeof(s.values[0]) / 16));
  sm90::operand_fence(sums);
#pragma unroll
  for (int i = 0; i < Keys / 32; ++i) sm90::operand_fence(p[i]);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Keys / 32; ++i) {
    const uint32_t box = uint32_t(i) * 32 / kBytes * kBytes, byte = uint32_t(i) * 32 % kBytes;
    sm90::wgmma<ValueHead, Type>(sums, p[i], sm90::advance(b, box * ValueHead + byte));
  }
  sm90::wgmma_commit();
}

// The power of two that a row's largest magnitude is divided by: it becomes at least 2^7 and less than 2^8. An infinity
// makes the row NaN, as its scores are; a NaN does so by itself.
OPSWAP_DEVICE float row_power(float most) {
  constexpr int kSpecial = 255, kLeast = 8;  // whose inverse is still a number
  const int exponent = int(__float_as_uint(most) >> 23);
  if (exponent == kSpecial) return NAN;
  return __uint_as_float(uint32_t(exponent - 7 < kLeast ? kLeast : exponent - 7) << 23);
}

// A warpgroup's rows of queries as codes, their scales and what they see, a row for two threads; rows beyond the
// task's, and features beyond the head's, are zeros. `sign` goes to the codes, so that scales are not below 0.
template <class Memory, class T>
OPSWAP_DEVICE void load_query_codes(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int group,
                                    float sign) {
  constexpr int kHalf = Memory::kHead / 2, kVectors = kHalf / 8;
  const int thread = int(threadIdx.x) % device::kWarpgroup, row = group * 64 + thread / 2, first = thread % 2 * kHalf;
  const T *const from = call.query.data + (row < task.rows ? place_of(call, call.query, task, row) : 0);
  Vec<T, 8> x[kVectors];
  float most = 0;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int at = first + i * 8;
    x[i] = row < task.rows && at < call.features ? load<8>(from + at) : Vec<T, 8>{};
#pragma unroll
    for (int j = 0; j < 8; ++j) most = fmaxf(most, fabsf(to_float(x[i][j])));
  }
  const float power = row_power(fmaxf(most, __shfl_xor_sync(device::kAllLanes, most, 1)));
#pragma unroll
  for (int i = 0; i < kVectors; i += 2) {
    Vec<float, 16> codes;
#pragma unroll
    for (int j = 0; j < 16; ++j) codes[j] = to_float(x[i + j / 8][j % 8]) * (sign / power);
    store_shared(reinterpret_cast<e4m3 *>(s.query +
                                          placed<Memory::kRowBytes>(Memory::kRows, row, (first + i * 8) / kPieceBytes)),
                 from_float<e4m3>(codes));
  }
  if (thread % 2 == 0) {
    store_shared(s.query_scales + row, Vec<float, 1>{{power}});
    store_shared(&s.seen[row].first, std::bit_cast<Vec<int, 2>>(seen_of_row(call, task, row)));
  }
  sm90::fence_async_proxy();
  sm90::barrier_sync(kGroupBarrier + uint32_t(group), device::kWarpgroup);
}

// A task of a warpgroup that multiplies.
template <class Memory, class T>
OPSWAP_DEVICE void attend_code_task(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int first,
                                    int tiles, int before) {
  const int thread = int(threadIdx.x), lane = thread % device::kWarp, group = thread / device::kWarpgroup;
  const int row = thread / device::kWarp * 16 + lane / kRowLanes;
  const float scale = call.softmax_scale * call.k_scale.at(task.kv_head, 1);
  load_query_codes(s, call, task, group, scale < 0 ? -1.0f : 1.0f);
  AttentionRows<Memory> rows;
#pragma unroll
  for (int i = 0; i < Memory::kValueHead / 2; ++i) rows.sums[i] = 0;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    // A scale of 0 would hide nothing: 0 * -inf is NaN.
    const float power = load_shared<1>(s.query_scales + row + 8 * r)[0] * fabsf(scale) * kLog2E;
    rows.softmax.scale[r] = power == 0 ? 1e-30f : power;
  }
  constexpr int kBytes = Memory::kRowBytes;
  const uint32_t query = low_of_warp(sm90::matrix_descriptor(s.query + group * 64 * kBytes, kSwizzle<kBytes>, 0)),
                 ring = low_of_warp(sm90::matrix_descriptor(s.keys, kSwizzle<kBytes>, 0));
  const AttentionTurn turn{task, first, tiles, before, group, row, lane, scale, query, ring};
  if (tiles) attend<sm90::MatrixType::e4m3>(s, rows, call, turn);
  write_attention(call, task, rows, row, lane);
}

}  // namespace opswap
