// moe_permute_quant_fp8 on sm_90a: moe_permute whose rows become FP8 codes with scales. One launch: each block finds
// the rows of its tokens, reads each token once, quantises it, and writes it to all of them. Where experts ask for
// other codes, a token is quantised for each of its choices, out of registers.
#include "moe_permute_quant_fp8.gen.h"

#include "common/device/fp8_rows.h"
#include "common/device/permute.h"

namespace opswap::OPSWAP_PASS {

constexpr int kHeld = 4;  // runs of N features that a thread keeps in registers
constexpr int kMostWarps = 20,
              kMostThreads = kMostWarps * kWarp;  // one block of them on an SM, so that each may take 96 registers

struct Quantised {
  e4m3 *permuted;       // [R, features]
  float *scale;         // (row r, group g) at r * scale_row + g * scale_column; null: not asked for
  const Scalar *input;  // [tokens, features]
  const Scalar *gain;   // [1 or experts, features] or null
  const float *given;   // [1 or experts] or null: the scale is that of the group's amax
  int64_t permuted_stride, scale_row, scale_column, input_stride;
  int64_t gain_stride, given_stride;  // from expert to expert, 0 where there is one for all
  int features, groups, length;       // a group's features; with scales that are given, those of a warp's access
  int lanes;                          // that share a group
  int pieces;                         // of a token, a warp's each
  bool by_expert;                     // the codes of a token differ by expert
};

// As integers, where NaN is above infinity, and without a conversion: the floats of all runs would not fit registers.
template <class T, int N>
OPSWAP_DEVICE uint32_t largest_magnitude(const Vec<T, N> &x) {
  using Bits = typename WordOf<int(sizeof(T))>::type;
  constexpr Bits kMagnitude = Bits(~Bits{}) >> 1;
  Bits most = 0, bits[N];
  memcpy(bits, &x, sizeof bits);
#pragma unroll
  for (int i = 0; i < N; ++i) most = std::max(most, Bits(bits[i] & kMagnitude));
  T largest;
  memcpy(&largest, &most, sizeof most);
  return __float_as_uint(to_float(largest));
}

OPSWAP_DEVICE float scale_of_most(uint32_t most) {
  return __fdiv_rn(__uint_as_float(std::max(most, __float_as_uint(kActivationFloor))), kLargestCode);
}

// Features from h on, times what the expert multiplies them by.
template <int N>
OPSWAP_DEVICE Vec<float, N> multiplied(const Quantised &q, const Vec<Scalar, N> &x, int expert, int h) {
  Vec<float, N> y = to_float(x);
  if (!q.gain) return y;
  const Vec<float, N> gain = to_float(load<N>(q.gain + expert * q.gain_stride + h));
#pragma unroll
  for (int i = 0; i < N; ++i) y[i] *= gain[i];
  return y;
}

// A warp's part of a token: teams of lanes with a group of features for each run that a lane holds.
template <int N>
struct Piece {
  int first, length, features;  // where the lane's first run begins, and how far the others are
  Vec<Scalar, N> x[kHeld];

  OPSWAP_DEVICE bool inside(int j) const { return first + j * length < features; }

  // A lane beyond the end of its group holds nothing.
  OPSWAP_DEVICE void load_row(const Quantised &q, int token, int piece) {
    const int lane = Sorted::thread() % kWarp, at = lane % q.lanes * N;
    const int group = (piece * (kWarp / q.lanes) + lane / q.lanes) * kHeld;
    first = at < q.length ? group * q.length + at : q.features, length = q.length, features = q.features;
#pragma unroll
    for (int j = 0; j < kHeld; ++j)
      if (inside(j)) x[j] = load<N>(q.input + token * q.input_stride + first + j * length);
  }

  OPSWAP_DEVICE void quantise(const Quantised &q, int expert, Vec<e4m3, N> (&codes)[kHeld],
                              float (&scales)[kHeld]) const {
    uint32_t most[kHeld];
#pragma unroll
    for (int j = 0; j < kHeld; ++j)
      most[j] = !inside(j) || q.given ? 0
                : q.gain              ? largest_magnitude(multiplied(q, x[j], expert, first + j * length))
                                      : largest_magnitude(x[j]);
    if (!q.given)
      for (int distance = q.lanes / 2; distance > 0; distance /= 2)
#pragma unroll
        for (int j = 0; j < kHeld; ++j) most[j] = std::max(most[j], __shfl_xor_sync(kAllLanes, most[j], distance));
#pragma unroll
    for (int j = 0; j < kHeld; ++j) {
      scales[j] = q.given ? load<1>(q.given + expert * q.given_stride)[0] : scale_of_most(most[j]);
      if (inside(j)) codes[j] = codes_of(multiplied(q, x[j], expert, first + j * length), Divisor(scales[j]), q.given);
    }
  }

  OPSWAP_DEVICE void store_row(const Quantised &q, int64_t row, const Vec<e4m3, N> (&codes)[kHeld]) const {
#pragma unroll
    for (int j = 0; j < kHeld; ++j)
      if (inside(j)) store(q.permuted + row * q.permuted_stride + first + j * length, codes[j]);
  }

  // Lane j of a team writes the scale of its group j; one that is given is written to all of them.
  OPSWAP_DEVICE void store_scales(const Quantised &q, int64_t row, int piece, const float (&scales)[kHeld]) const {
    const int lane = Sorted::thread() % kWarp, group = (piece * (kWarp / q.lanes) + lane / q.lanes) * kHeld;
    if (q.given) {
      for (int g = piece * kWarp + lane; g < q.groups; g += q.pieces * kWarp)
        store(q.scale + row * q.scale_row + g * q.scale_column, Vec<float, 1>{scales[0]});
      return;
    }
    for (int i = lane % q.lanes; i < kHeld; i += q.lanes) {
      float scale = scales[0];
#pragma unroll
      for (int j = 1; j < kHeld; ++j) scale = i == j ? scales[j] : scale;
      if (group + i < q.groups) store(q.scale + row * q.scale_row + (group + i) * q.scale_column, Vec<float, 1>{scale});
    }
  }
};

// Short groups: each is a team's, and a warp has a piece of a token. The first piece is on its way during the sort.
// sass moe_quant_kernel: LDG.128
template <int N>
__global__ void __launch_bounds__(kMostThreads, 1)
    moe_quant_kernel(const __grid_constant__ Quantised q, const __grid_constant__ Permutation p) {
  OPSWAP_SHARED(Sorting, memory);
  dependency_wait();
  dependency_trigger();
  Sorted sorted(p, memory);
  const int warps = Sorted::threads() / kWarp;
  Walk at(sorted.begin, int(blockIdx.y) * warps + Sorted::thread() / kWarp, warps * int(gridDim.y), q.pieces);
  Piece<N> x;
  if (at.token < sorted.end) x.load_row(q, at.token, at.i);
  sorted.sort();
  for (int from = sorted.begin; from < sorted.end; from += p.listed) {
    const int to = from + p.listed < sorted.end ? from + p.listed : sorted.end;
    sorted.list(from, to);
    while (at.token < to) {
      Vec<e4m3, N> codes[kHeld];
      float scales[kHeld];
      bool known = false;
      for (int k = 0; k < p.choices; ++k) {
        const Place place = sorted.place((at.token - from) * p.choices + k);
        if (place.row < 0) continue;
        if (!known || q.by_expert) x.quantise(q, place.expert, codes, scales);
        known = true;
        x.store_row(q, place.row, codes);
        if (q.scale) x.store_scales(q, place.row, at.i, scales);
      }
      at.next();
      if (at.token < sorted.end) x.load_row(q, at.token, at.i);
    }
  }
}

// Largest magnitude over the blockDim.x threads of a team; two memories in turn, so that one barrier is enough.
struct TeamMost {
  uint32_t warps[2][kMostWarps];
  OPSWAP_DEVICE uint32_t operator()(uint32_t x, int turn) {
    const int team = int(blockDim.x) / kWarp;
    x = __reduce_max_sync(kAllLanes, x);
    if (threadIdx.x % kWarp == 0) store_shared(warps[turn] + Sorted::thread() / kWarp, Vec<uint32_t, 1>{x});
    __syncthreads();
    for (int w = 0; w < team; ++w) x = std::max(x, load_shared<1>(warps[turn] + int(threadIdx.y) * team + w)[0]);
    return x;
  }
};

// Groups longer than a warp holds: a row of threads takes one at a time, and reads again what its registers do not
// hold. sass moe_quant_long_kernel: LDG.128
template <int N>
__global__ void __launch_bounds__(kMostThreads, 1)
    moe_quant_long_kernel(const __grid_constant__ Quantised q, const __grid_constant__ Permutation p) {
  OPSWAP_SHARED(Sorting, memory);
  OPSWAP_SHARED(TeamMost, team_most);
  dependency_wait();
  dependency_trigger();
  Sorted sorted(p, memory);
  sorted.sort();
  const int step = int(blockDim.x) * N, high = int(blockDim.y);
  int turn = 0;
  for (int from = sorted.begin; from < sorted.end; from += p.listed) {
    const int to = from + p.listed < sorted.end ? from + p.listed : sorted.end;
    sorted.list(from, to);
    for (int first = from; first < to; first += high)  // all teams together, since they meet at barriers
      for (int g = int(blockIdx.y); g < q.groups; g += int(gridDim.y)) {
        const int t = first + int(threadIdx.y), begin = g * q.length + int(threadIdx.x) * N;
        const int end = t < to ? (g + 1) * q.length : 0, rest = begin + kHeld * step;
        const Scalar *row = q.input + t * q.input_stride;
        Vec<Scalar, N> x[kHeld];
#pragma unroll
        for (int j = 0; j < kHeld; ++j)
          if (begin + j * step < end) x[j] = load<N>(row + begin + j * step);
        float scale = 0;
        for (int k = 0; k < p.choices; ++k) {
          const Place place = t < to ? sorted.place((t - from) * p.choices + k) : Place{-1, -1};
          const int expert = place.expert < 0 ? 0 : place.expert;
          const auto each = [&](auto &&body) {
#pragma unroll
            for (int j = 0; j < kHeld; ++j)
              if (const int h = begin + j * step; h < end) body(h, multiplied(q, x[j], expert, h));
            for (int h = rest; h < end; h += step) body(h, multiplied(q, load<N>(row + h), expert, h));
          };
          if (k == 0 || q.by_expert) {
            uint32_t most = 0;
            each([&](int, const Vec<float, N> &y) { most = std::max(most, largest_magnitude(y)); });
            scale = scale_of_most(team_most(most, turn ^= 1));
          }
          if (place.row < 0) continue;
          const Divisor by(scale);
          each([&](int h, const Vec<float, N> &y) {
            store(q.permuted + place.row * q.permuted_stride + h, codes_of(y, by));
          });
          if (threadIdx.x == 0) store(q.scale + place.row * q.scale_row + g * q.scale_column, Vec<float, 1>{scale});
        }
      }
  }
}

// A static scale is one for its row, so there the groups are what a warp reads at once.
template <int N>
Quantised quantised(const moe_permute_quant_fp8_args &a) {
  const int64_t groups = a.mn_major ? a.S0 : a.S1, stride = a.scale ? a.scale.stride[0] : 0;
  const int64_t length = a.S ? kWarp * N : a.H / groups, runs = ceil_div<int64_t>(length, N);
  const bool experts = a.F > 1;
  Quantised q{.permuted = a.permuted.as<e4m3>(),
              .scale = groups ? a.scale.as<float>() : nullptr,
              .input = a.input.as<Scalar>(),
              .gain = a.P && experts ? a.pre_quant_scale.as<Scalar>() : nullptr,
              .given = a.S ? a.static_scale.as<float>() : nullptr,
              .permuted_stride = a.permuted.stride[0],
              .scale_row = a.mn_major ? 1 : stride,
              .scale_column = a.mn_major ? stride : 1,
              .input_stride = a.input.stride[0],
              .gain_stride = a.P > 1 ? a.pre_quant_scale.stride[0] : 0,
              .given_stride = a.S > 1 ? 1 : 0,
              .features = int(a.H),
              .groups = int(groups),
              .length = int(length),
              .lanes = int(std::min<int64_t>(power_of_two(runs), kWarp)),
              .by_expert = a.P > 1 || a.S > 1};
  const int64_t of_piece = std::max<int64_t>(length * (kWarp / q.lanes) * kHeld, 1);
  q.pieces = int(std::max<int64_t>(ceil_div(a.H, of_piece), 1));
  return q;
}

template <int N>
opswap_status start(const moe_permute_quant_fp8_args &a, const opswap_exec &exec) {
  const Quantised q = quantised<N>(a);
  const int64_t sms = sms_of(exec), runs = ceil_div<int64_t>(q.length, N);
  const bool few = a.T < sms, brief = runs <= kWarp;
  Geometry geometry{.pdl = true};
  if (brief) {
    const int64_t parts = few ? std::clamp<int64_t>(sms / std::max<int64_t>(a.T, 1), 1, q.pieces) : 1;
    const int64_t warps = few ? std::clamp<int64_t>(ceil_div<int64_t>(q.pieces, parts), 4, kMostWarps) : kMostWarps;
    geometry.grid.y = parts, geometry.block.x = warps * kWarp;
  } else {
    geometry.block.x = std::min<int64_t>(round_up<int64_t>(ceil_div<int64_t>(runs, kHeld), kWarp), kMostThreads);
    geometry.block.y = few ? 1 : kMostThreads / geometry.block.x;
    geometry.grid.y = few ? std::min<int64_t>(q.groups, sms / std::max<int64_t>(a.T, 1)) : 1;
  }
  geometry.grid.x = std::min(a.T, sms);
  const Permutation p = permutation_of(a, geometry);
  if (brief) return launch(exec, "moe_quant_kernel", moe_quant_kernel<N>, geometry, q, p);
  return launch(exec, "moe_quant_long_kernel", moe_quant_long_kernel<N>, geometry, q, p);
}

OPSWAP_SM90_CAN(moe_permute_quant_fp8) {
  if (const char *refusal = permutation_refusal(a)) return refusal;
  return row_refusal(a.H);
}

OPSWAP_SM90(moe_permute_quant_fp8) {
  constexpr int kWide = int(kWidest / sizeof(Scalar));
  const int64_t groups = a.mn_major ? a.S0 : a.S1, length = a.S ? a.H : a.H / groups;
  const bool wide =
      length % kWide == 0 && fits(a.input, kWide) && fits(a.permuted, kWide) && fits(a.pre_quant_scale, kWide);
  return wide ? start<kWide>(a, exec) : start<1>(a, exec);
}

}  // namespace opswap::OPSWAP_PASS
