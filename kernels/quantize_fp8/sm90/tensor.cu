// The kernels that find one scale for a whole tensor: start, largest magnitude, division.
#include "tensor.h"

#include "common/device/fp8_rows.h"

namespace opswap::OPSWAP_PASS {

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

opswap_status scale_of_tensor(const quantize_fp8_args &a, const opswap_exec &exec) {
  const Geometry one{.pdl = true};
  float *scale = a.scale.as<float>();
  if (opswap_status e = launch(exec, "start_amax_kernel", start_amax_kernel, one, scale, a.floor)) return e;
  const opswap_status found = with_part<Scalar>(a.H, {&a.input}, [&]<class P>() {
    return launch(exec, "amax_kernel", amax_kernel<P>, row_geometry<P>(exec, a.T, a.H), scale,
                  rows_of<const Scalar>(a.input), a.T, a.H);
  });
  return found ? found : launch(exec, "finish_amax_kernel", finish_amax_kernel, one, scale);
}

// sass amax_kernel: LDG=128

}  // namespace opswap::OPSWAP_PASS
