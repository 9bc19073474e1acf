// layer_norm on sm_90a: layer norm of each row. One kernel, whose blocks walk over rows; rows that float32 cannot sum
// are measured again.
#include "layer_norm.gen.h"

#include "common/device/rows.h"

namespace opswap::OPSWAP_PASS {

constexpr float kLeastNormal = 0x1p-126f;

// What a row is measured by: (x - pivot) * range, whose mean is mean + rest, since what the rounding of a mean loses
// counts where it is large. range is 1 and pivot 0 but for rows that float32 cannot sum as they are.
struct Moments {
  float range = 1, pivot = 0, mean, rest, inverse_deviation;
  OPSWAP_DEVICE float measured(float x) const { return x * range - pivot; }
  OPSWAP_DEVICE float normed(float x) const { return (measured(x) - mean - rest) * inverse_deviation; }
};

// Fills m but for what it is measured by. Returns the mean of the squared deviations, of which `spread` is the part
// that is not rounding. Elements beyond the row do not count.
template <class P, class Row>
OPSWAP_DEVICE float measure(Moments &m, const P &part, typename P::Held &x, Row &&row, Reducer &reduce, float &spread) {
  const float n = float(part.length);
  float sum = 0, deviations = 0, squares = 0;
  part.each(x, row, [&](int h, bool, const typename P::Floats &v) {
#pragma unroll
    for (int i = 0; i < P::N; ++i) sum += h + i < part.length ? m.measured(v[i]) : 0.0f;
  });
  m.mean = reduce(sum, Sum{}) / n;
  part.each(x, row, [&](int h, bool, const typename P::Floats &v) {
#pragma unroll
    for (int i = 0; i < P::N; ++i) {
      const float d = h + i < part.length ? m.measured(v[i]) - m.mean : 0.0f;
      deviations += d;
      squares += d * d;
    }
  });
  m.rest = reduce(deviations, Sum{}) / n;
  const float mean_square = reduce(squares, Sum{}) / n;
  spread = mean_square - m.rest * m.rest;
  return mean_square;
}

// A row whose sums leave the range of float32, or of whose variance its mean leaves little, is measured again from its
// first element, by a power of two.
template <class P, class Row>
OPSWAP_DEVICE Moments moments(const P &part, typename P::Held &x, Row &&row, float epsilon, Reducer &reduce) {
  Moments m;
#pragma unroll 1
  for (bool again = false;; again = true) {  // not twice in the code, which would take registers from every row
    float spread;
    const float mean_square = measure(m, part, x, row, reduce, spread), range = range_of(spread + epsilon);
    const bool asks = !again && !(range == 1 && spread >= 0.5f * mean_square);
    if (!AnyOfWarp{}(asks)) {
      m.inverse_deviation = rsqrtf(spread + epsilon);
      return m;
    }
    // Two passes over a row end at the piece that they started with, its first.
    const float pivot = reduce(part.first == 0 && part.length > 0 ? x.at[0][0] : 0.0f, Sum{}) * range;
    if (!asks) continue;  // a row beside this one does: it is measured again as it was
    m.range = range, m.pivot = pivot;
    // What is left is 0 where all elements are equal, and so must their norm be.
    epsilon = epsilon > 0 ? fmaxf(epsilon * range * range, kLeastNormal) : epsilon;
  }
}

template <class P>
__global__ void __launch_bounds__(kFullRowThreads, kRowBlocksPerSm)
    layer_norm_kernel(Rows<Scalar> out,          // [rows, length]
                      Rows<const Scalar> input,  // [rows, length]
                      const Scalar *weight,      // [length]
                      const Scalar *bias,        // [length] or null
                      int64_t rows, int length, float epsilon) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P features(length);
  Scalar *kept = features_memory<P, Scalar>();
  const PerFeature<P, Scalar> gain(features, weight, 1, kept), shift(features, bias, 0, kept + features.kept());
  dependency_wait();
  dependency_trigger();
  each_row<P>(rows, length, [&](int64_t t, const P &part) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    auto x = part.hold(row);
    const Moments m = moments(part, x, row, epsilon, reduce);
    part.each(x, row, [&](int h, bool first, const typename P::Floats &v) {
      const typename P::Floats g = gain(h, first);
      typename P::Floats y;
#pragma unroll
      for (int i = 0; i < P::N; ++i) y[i] = m.normed(v[i]) * g[i];
      const typename P::Floats b = shift(h, first);
#pragma unroll
      for (int i = 0; i < P::N; ++i) y[i] += b[i];
      part.store(out[t], h, from_float<Scalar>(y));
    });
  });
}

// sass layer_norm_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(layer_norm) { return row_refusal(a.H); }

OPSWAP_SM90(layer_norm) {
  return with_part<Scalar>(a.H, {&a.out, &a.input, &a.weight, &a.bias}, [&]<class P>() {
    return launch(exec, "layer_norm_kernel", layer_norm_kernel<P>,
                  row_geometry<P, kFullRowThreads>(exec, a.T, a.H, 2 * sizeof(Scalar)), rows_of<Scalar>(a.out),
                  rows_of<const Scalar>(a.input), a.weight.as<Scalar>(), a.bias ? a.bias.as<Scalar>() : nullptr, a.T,
                  a.H, a.epsilon);
  });
}

}  // namespace opswap::OPSWAP_PASS
