#include "quantize_fp8.gen.h"

#include "common/device/fp8_rows.h"
#include "common/device/layout.h"

namespace opswap::OPSWAP_PASS {

template <class P, Scaling kScaling>
__global__ void __launch_bounds__(kRowThreads, 1)
    quantize_rows_kernel(const __grid_constant__ Fp8Rows out,  // [rows, length]
                         Rows<const Scalar> input,             // [rows, length]
                         int64_t rows, int length) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P part(length);
  dependency_wait();
  dependency_trigger();
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    quantise_row<kScaling>(out, t, part, part.hold(row), row, reduce);
  }
}

constexpr int kTile = 128, kTileThreads = 512;

// A block takes a tile of 128 x 128, which its registers hold.
template <class P>
__global__ void __launch_bounds__(kTileThreads)
    quantize_tiles_kernel(const __grid_constant__ Fp8Rows out,  // [rows, columns]
                          Rows<const Scalar> input,             // [rows, columns]
                          int64_t rows, int64_t columns) {
  using Held = RowTile<kTile, kTile, kTileThreads, P::N>;
  constexpr int kEach = Held::kValues / P::N;
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const int64_t first = int64_t(blockIdx.y) * kTile, begin = int64_t(blockIdx.x) * kTile;
  const P part(int(columns - begin < kTile ? columns - begin : kTile));
  const int h = Held::column(threadIdx.x, 0), down = Held::row(threadIdx.x, 0);
  dependency_wait();
  dependency_trigger();
  Vec<Scalar, P::N> x[kEach];
  float most = 0;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int64_t t = first + Held::row(0, k * P::N) + down;
    if (t < rows) x[k] = part.load(input[t] + begin, h);
    if (t < rows) most = amax(most, to_float(x[k]));
  }
  const float scale = scale_of(reduce(most, Max{}), out.floor);
  if (threadIdx.x == 0)
    store(out.scale + blockIdx.y * out.scale_row + blockIdx.x * out.scale_column, Vec<float, 1>{scale});
  const Divisor by(scale);
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int64_t t = first + Held::row(0, k * P::N) + down;
    if (t < rows) part.store(out.out[t] + begin, h, codes_of(to_float(x[k]), by));
  }
}

// One scale for all takes four kernels in a row: it grows from the floor to the largest magnitude, in bits, where NaN
// is above infinity; it is divided; and the codes are those of a given scale.
__global__ void start_amax_kernel(float *scale,  // [1]
                                  float floor) {
  dependency_wait();
  dependency_trigger();
  store(scale, Vec<float, 1>{floor});
}

template <class P>
__global__ void __launch_bounds__(kRowThreads, 1) amax_kernel(float *scale,              // [1]
                                                              Rows<const Scalar> input,  // [rows, length]
                                                              int64_t rows, int length) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P part(length);
  dependency_wait();
  dependency_trigger();
  float most = 0;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    part.each(part.hold(row), row, [&](int, int, const typename P::Floats &v) { most = amax(most, v); });
  }
  most = reduce(most, Max{});
  if (threadIdx.x == 0) atomicMax(reinterpret_cast<unsigned *>(scale), __float_as_uint(fabsf(most)));
}

__global__ void finish_amax_kernel(float *scale) {
  dependency_wait();
  dependency_trigger();
  store(scale, Vec<float, 1>{__fdiv_rn(load<1>(scale)[0], kLargestCode)});
}

opswap_status quantize_tensor(const quantize_fp8_args &a, const opswap_exec &exec) {
  const Geometry one{.pdl = true};
  float *scale = a.scale.as<float>();
  if (opswap_status e = launch(exec, "start_amax_kernel", start_amax_kernel, one, scale, a.floor)) return e;
  const opswap_status found = with_part<Scalar>(a.H, {&a.input}, [&]<class P>() {
    return launch(exec, "amax_kernel", amax_kernel<P>, row_geometry<P>(exec, a.T, a.H), scale,
                  rows_of<const Scalar>(a.input), a.T, a.H);
  });
  return found ? found : launch(exec, "finish_amax_kernel", finish_amax_kernel, one, scale);
}

opswap_status quantize_tiles(const quantize_fp8_args &a, const opswap_exec &exec) {
  return with_part<Scalar>(a.H, {&a.out, &a.input}, [&]<class P>() {
    const Geometry geometry{
        .grid = {ceil_div<int64_t>(a.H, kTile), ceil_div<int64_t>(a.T, kTile)}, .block = {kTileThreads}, .pdl = true};
    return launch(exec, "quantize_tiles_kernel", quantize_tiles_kernel<P>, geometry, fp8_rows(a, float(a.floor)),
                  rows_of<const Scalar>(a.input), a.T, a.H);
  });
}

// sass quantize_rows_kernel: LDG.128
// sass quantize_tiles_kernel: LDG.128
// sass amax_kernel: LDG=128

OPSWAP_SM90_CAN(quantize_fp8) {
  if (a.group_rows == kTile && a.T > int64_t{65535} * kTile) return "it takes at most 65535 tiles of 128 rows";
  return row_refusal(a.H);
}

OPSWAP_SM90(quantize_fp8) {
  if (a.group_rows == kTile) return quantize_tiles(a, exec);
  const bool whole = a.group_rows == 0;
  if (whole && !a.static_scale)
    if (opswap_status e = quantize_tensor(a, exec)) return e;
  return with_scaling<Scalar>(a.group_columns != 0, whole, a.H, {&a.out, &a.input}, [&]<class P, Scaling kScaling>() {
    return launch(exec, "quantize_rows_kernel", quantize_rows_kernel<P, kScaling>, row_geometry<P>(exec, a.T, a.H),
                  fp8_rows(a, float(a.floor)), rows_of<const Scalar>(a.input), a.T, a.H);
  });
}

}  // namespace opswap::OPSWAP_PASS
