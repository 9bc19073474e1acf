#include "layer_norm.gen.h"

#include "common/device/rows.h"

namespace opswap::OPSWAP_PASS {

struct Moments {
  float mean, rest, scale;  // the mean is mean + rest: what its rounding lost counts where it is large
};

// Around the rounded mean a large mean cancels nothing; elements beyond the row do not count.
template <class P, class Row>
OPSWAP_DEVICE Moments moments(const P &part, const typename P::Held &x, Row &&row, float epsilon, Reducer &reduce) {
  const float n = float(part.length);
  float sum = 0, deviations = 0, squares = 0;
  part.each(x, row, [&](int, int, const typename P::Floats &v) {
#pragma unroll
    for (int i = 0; i < P::N; ++i) sum += v[i];
  });
  const float mean = reduce(sum, Sum{}) / n;
  part.each(x, row, [&](int h, int, const typename P::Floats &v) {
#pragma unroll
    for (int i = 0; i < P::N; ++i) {
      const float d = h + i < part.length ? v[i] - mean : 0.0f;
      deviations += d;
      squares += d * d;
    }
  });
  const float rest = reduce(deviations, Sum{}) / n;
  const float variance = reduce(squares, Sum{}) / n - rest * rest;
  return {mean, rest, rsqrtf(variance + epsilon)};
}

template <class P>
__global__ void __launch_bounds__(kRowThreads, 1) layer_norm_kernel(Rows<Scalar> out,          // [rows, length]
                                                                    Rows<const Scalar> input,  // [rows, length]
                                                                    const Scalar *weight,      // [length]
                                                                    const Scalar *bias,        // [length] or null
                                                                    int64_t rows, int length, float epsilon) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P part(length);
  Scalar *kept = features_memory<P, Scalar>();
  const PerFeature<P, Scalar> gain(part, weight, 1, kept), shift(part, bias, 0, kept + part.kept());
  dependency_wait();
  dependency_trigger();
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    const auto x = part.hold(row);
    const Moments m = moments(part, x, row, epsilon, reduce);
    part.each(x, row, [&](int h, int k, const typename P::Floats &v) {
      const typename P::Floats g = gain(h, k), b = shift(h, k);
      typename P::Floats y;
#pragma unroll
      for (int i = 0; i < P::N; ++i) y[i] = (v[i] - m.mean - m.rest) * m.scale * g[i] + b[i];
      part.store(out[t], h, from_float<Scalar>(y));
    });
  }
}

// sass layer_norm_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(layer_norm) { return row_refusal(a.H); }

OPSWAP_SM90(layer_norm) {
  return with_part<Scalar>(a.H, {&a.out, &a.input, &a.weight, &a.bias}, [&]<class P>() {
    return launch(exec, "layer_norm_kernel", layer_norm_kernel<P>, row_geometry<P>(exec, a.T, a.H, 2 * sizeof(Scalar)),
                  rows_of<Scalar>(a.out), rows_of<const Scalar>(a.input), a.weight.as<Scalar>(),
                  a.bias ? a.bias.as<Scalar>() : nullptr, a.T, a.H, a.epsilon);
  });
}

}  // namespace opswap::OPSWAP_PASS
