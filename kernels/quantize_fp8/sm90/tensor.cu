// The kernels of one scale for a whole tensor: one where a cluster's registers hold it, otherwise the largest magnitude
// of each block's rows, from which the blocks of a second kernel make the scale.
#include "tensor.h"

#include "common/device/fp8_rows.h"
#include "common/sm90/cluster.h"

namespace opswap::OPSWAP_PASS {

constexpr int64_t kCluster = 8;

struct ClusterMost {
  float of_warps[2][kWarp];
  float of_block;
};

// Each block holds its rows, and reads the largest magnitudes of its peers.
template <class P>
__global__ void __launch_bounds__(kRowThreads, 1)
    quantize_small_tensor_kernel(const __grid_constant__ Fp8Rows out,  // [rows, length]
                                 Rows<const Scalar> input,             // [rows, length]
                                 int64_t rows, int length) {
  OPSWAP_SHARED(ClusterMost, memory);
  const int64_t t = int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
  const P part(length, t < rows);
  dependency_wait();
  dependency_trigger();
  const auto row = [&](int h) { return part.load(input[t], h); };
  auto x = part.hold(row);
  float most = 0;
  part.each(x, row, [&](int, bool, const typename P::Floats &v) { most = amax(most, v); });
  most = block_reduce(most, Max{}, memory.of_warps[0]);
  const int thread = int(threadIdx.y * blockDim.x + threadIdx.x);
  if (thread == 0) store_shared(&memory.of_block, Vec<float, 1>{most});
  cluster_sync();  // the peers' are there
  most = thread < kCluster ? cluster_load(map_shared(&memory.of_block, uint32_t(thread))) : 0.0f;
  const float scale = scale_of(block_reduce(most, Max{}, memory.of_warps[1]), out.floor);
  cluster_arrive();  // this block's is read
  if (blockIdx.x == 0 && thread == 0) store(out.scale, Vec<float, 1>{scale});
  const Divisor by(scale);
  part.each(x, row, [&](int h, bool, const typename P::Floats &v) { part.store(out.out[t], h, codes_of(v, by)); });
  cluster_wait();
}

template <class P>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    tensor_amax_kernel(float *partial,            // [blocks]
                       Rows<const Scalar> input,  // [rows, length]
                       int64_t rows, int length) {
  OPSWAP_SHARED(float[kWarp], of_warps);
  dependency_wait();
  dependency_trigger();
  float most = 0;
  each_row<P>(rows, length, [&](int64_t t, const P &part) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    auto x = part.hold(row);
    part.each(x, row, [&](int, bool, const typename P::Floats &v) { most = amax(most, v); });
  });
  most = block_reduce(most, Max{}, of_warps);
  if (threadIdx.x == 0 && threadIdx.y == 0) store(partial + blockIdx.x, Vec<float, 1>{most});
}

template <class P>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    quantize_tensor_kernel(const __grid_constant__ Fp8Rows out,  // [rows, length]
                           Rows<const Scalar> input,             // [rows, length]
                           const float *partial,                 // [partials]
                           int partials, int64_t rows, int length) {
  OPSWAP_SHARED(float[kWarp], of_warps);
  dependency_wait();
  dependency_trigger();
  const int thread = int(threadIdx.y * blockDim.x + threadIdx.x), threads = int(blockDim.x * blockDim.y);
  float most = 0;
  for (int i = thread; i < partials; i += threads) most = Max{}(most, load<1>(partial + i)[0]);
  const float scale = scale_of(block_reduce(most, Max{}, of_warps), out.floor);
  if (blockIdx.x == 0 && thread == 0) store(out.scale, Vec<float, 1>{scale});
  const Divisor by(scale);
  each_row<P>(rows, length, [&](int64_t t, const P &part) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    auto x = part.hold(row);
    part.each(x, row, [&](int h, bool, const typename P::Floats &v) { part.store(out.out[t], h, codes_of(v, by)); });
  });
}

// sass quantize_small_tensor_kernel: LDG=128
// sass tensor_amax_kernel: LDG=128
// sass quantize_tensor_kernel: LDG.128

// A cluster whose threads hold all rows; an empty grid where that is not enough, or too many SMs.
template <class P>
Geometry cluster_geometry(const opswap_exec &exec, int64_t rows, int64_t length) {
  const int64_t share = std::max<int64_t>(ceil_div<int64_t>(length, P::N * P::kHeld), 1);
  const int64_t lanes = share > kWarp ? round_up<int64_t>(share, kWarp) : power_of_two(share);
  const int64_t high = lanes > kWarp ? kRowThreads / lanes : kRowThreads / kWarp * (kWarp / lanes);
  if (rows > kCluster * high || sms_of(exec) < kCluster) return {.grid = {0}};
  const int64_t whole = std::max<int64_t>(kWarp / lanes, 1);
  return {.grid = {kCluster},
          .block = {lanes, round_up(std::max<int64_t>(ceil_div(rows, kCluster), 1), whole)},
          .cluster = {kCluster},
          .pdl = true};
}

// Few blocks: each leaves one number, which all blocks of the next kernel read.
template <class P>
Geometry amax_geometry(const opswap_exec &exec, int64_t rows, int64_t length) {
  Geometry g = row_geometry<P>(exec, rows, length);
  if (g.block.x > kWarp) g.block.y = std::clamp<int64_t>(rows / (2 * sms_of(exec)), 1, kRowThreads / g.block.x);
  g.grid.x = std::min({ceil_div(rows, g.block.y),
                       sms_of(exec) * (kRowBlocksPerSm * kRowThreads / (g.block.x * g.block.y)), kMostPartials});
  return g;
}

opswap_status quantize_tensor(const quantize_fp8_args &a, const opswap_exec &exec) {
  const Fp8Rows out = fp8_rows(a, float(a.floor));
  const auto input = rows_of<const Scalar>(a.input);
  return with_part<Scalar>(a.H, {&a.out, &a.input}, [&]<class P>() {
    const Geometry held = cluster_geometry<P>(exec, a.T, a.H);
    if (held.grid.x)
      return launch(exec, "quantize_small_tensor_kernel", quantize_small_tensor_kernel<P>, held, out, input, a.T, a.H);
    float *partial = static_cast<float *>(exec.workspace);
    const Geometry amax = amax_geometry<P>(exec, a.T, a.H);
    if (opswap_status e = launch(exec, "tensor_amax_kernel", tensor_amax_kernel<P>, amax, partial, input, a.T, a.H))
      return e;
    Geometry codes = row_geometry<P>(exec, a.T, a.H);
    codes.grid.x = std::max<int64_t>(codes.grid.x, 1);  // a tensor without rows has a scale
    return launch(exec, "quantize_tensor_kernel", quantize_tensor_kernel<P>, codes, out, input, partial, amax.grid.x,
                  a.T, a.H);
  });
}

}  // namespace opswap::OPSWAP_PASS
