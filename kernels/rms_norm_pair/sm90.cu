// rms_norm_pair on sm_90a: the RMS norms of two tensors in one call. One kernel, in which half of the blocks take each
// tensor.
#include <numeric>

#include "rms_norm_pair.gen.h"

#include "common/device/norm_rows.h"

namespace opswap::OPSWAP_PASS {

struct Norm {
  Rows<Scalar> out;         // [rows, length]
  InputRows<Scalar> input;  // [rows, length]
  const Scalar *weight;     // [length]
  int length;
};

// Blocks of y = 0 walk over the one tensor's rows, those of y = 1 over the other's.
template <class P>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    rms_norm_pair_kernel(const __grid_constant__ Norm q, const __grid_constant__ Norm kv, int64_t rows, float epsilon) {
  const Norm norm = blockIdx.y == 0 ? q : kv;
  store_normed_rows<P>(norm.out, norm.input, norm.weight, rows, norm.length, epsilon);
}

// sass rms_norm_pair_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(rms_norm_pair) { return row_refusal(std::max(a.Q, a.KV)); }

OPSWAP_SM90(rms_norm_pair) {
  const auto norm = [](const Tensor &out, const Tensor &input, const Tensor &weight, int64_t length) {
    return Norm{rows_of<Scalar>(out), {rows_of<const Scalar>(input)}, weight.as<Scalar>(), int(length)};
  };
  const auto wide = {&a.q_out, &a.q, &a.q_weight, &a.kv_out, &a.kv, &a.kv_weight};
  return with_part<Scalar>(std::gcd(a.Q, a.KV), wide, [&]<class P>() {
    Geometry geometry = row_geometry<P>(exec, a.T, std::max(a.Q, a.KV), sizeof(Scalar));
    geometry.grid.y = 2;
    return launch(exec, "rms_norm_pair_kernel", rms_norm_pair_kernel<P>, geometry, norm(a.q_out, a.q, a.q_weight, a.Q),
                  norm(a.kv_out, a.kv, a.kv_weight, a.KV), a.T, a.epsilon);
  });
}

}  // namespace opswap::OPSWAP_PASS
