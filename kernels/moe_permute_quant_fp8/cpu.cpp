// moe_permute_quant_fp8 on a CPU: moe_permute whose rows become FP8 codes with scales. A token is quantised once and
// copied to its other places, unless its codes depend on the expert.
#include "moe_permute_quant_fp8.gen.h"

#include <cstring>

#include "common/permute.h"
#include "common/quantize.h"

namespace opswap::OPSWAP_ISA {

// Of a block of features: what they are multiplied by, and its scale where it has none of its own; both may be null.
template <class E>
struct Factors {
  const E *gain;
  const float *given;
};

// Scales and factors of a call, by row, group and expert.
class Table {
 public:
  explicit Table(const moe_permute_quant_fp8_args &a) : a_(a), written_(a.mn_major ? a.S0 : a.S1) {}
  int64_t groups() const { return std::max<int64_t>(written_, 1); }
  // Whether the codes of a token differ by expert.
  bool by_expert() const { return a_.P > 1 || a_.S > 1; }

  template <class E>
  Factors<E> factors(int64_t expert, int64_t feature) const {
    const E *gain = a_.P ? row<E>(a_.pre_quant_scale, a_.P > 1 ? expert : 0) + feature : nullptr;
    return {gain, a_.S ? a_.static_scale.as<float>() + (a_.S > 1 ? expert : 0) : nullptr};
  }
  void set(int64_t r, int64_t g, float scale) const {
    if (g < written_) Scales(a_).at(r, g) = scale;
  }
  void copy(int64_t to, int64_t from) const {
    for (int64_t g = 0; g < written_; ++g) set(to, g, Scales(a_).at(from, g));
  }

 private:
  const moe_permute_quant_fp8_args &a_;
  int64_t written_;  // scales of a row
};

template <class E>
static float quantize_plain(e4m3 *out, const E *x, int64_t n, const Factors<E> &by) {
  const auto value = [&](int64_t i) { return by.gain ? to_float(x[i]) * to_float(by.gain[i]) : to_float(x[i]); };
  uint32_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, magnitude(value(i)));
  const float scale = by.given ? *by.given : scale_of(most);
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<e4m3>(value(i) / scale);
  return scale;
}

// body(products, begin, count) for x times gain, as many at once as lie in the cache.
template <class E, class Body>
static void multiplied(const E *x, const E *gain, int64_t n, Body &&body) {
  constexpr int64_t kAtOnce = 1024;
  alignas(64) float products[kAtOnce];
  for (int64_t begin = 0; begin < n; begin += kAtOnce) {
    const int64_t count = std::min(kAtOnce, n - begin);
    for_lanes(
        count, [&](int64_t i) { store(products + i, load(x + begin + i) * load(gain + begin + i)); },
        [&](int64_t i, int64_t left) {
          store(products + i, load_tail(x + begin + i, left) * load_tail(gain + begin + i, left));
        });
    body(products, begin, count);
  }
}

template <class E>
static float quantize(e4m3 *out, const E *x, int64_t n, const Factors<E> &by) {
  const bool given = by.given;
  if (!by.gain) {
    const float scale = given ? *by.given : scale_of(amax(x, n));
    quantize_span(out, x, n, scale, given);
    return scale;
  }
  uint32_t most = 0;
  if (!given)
    multiplied(x, by.gain, n, [&](const float *y, int64_t, int64_t count) { most = std::max(most, amax(y, count)); });
  const float scale = given ? *by.given : scale_of(most);
  multiplied(x, by.gain, n,
             [&](const float *y, int64_t begin, int64_t count) { quantize_span(out + begin, y, count, scale, given); });
  return scale;
}

// A token is quantised into the row of its first choice, and where all experts ask for the same, copied from there.
template <class E, class Quantize>
static void expand(const moe_permute_quant_fp8_args &a, int64_t begin, int64_t end, Quantize &&quantize_block) {
  const Table table(a);
  const int64_t groups = table.groups(), block = a.H / groups;
  for (int64_t t = begin; t < end; ++t) {
    int64_t first = -1;
    for (int64_t k = 0; k < a.K; ++k) {
      const int64_t to = index_at(a.row_of, t, k), expert = index_at(a.topk_ids, t, k);
      if (to < 0) continue;
      e4m3 *codes = row<e4m3>(a.permuted, to);
      if (first >= 0 && !table.by_expert()) {
        std::memcpy(codes, row<e4m3>(a.permuted, first), size_t(a.H));
        table.copy(to, first);
        continue;
      }
      first = to;
      for (int64_t g = 0; g < groups; ++g)
        table.set(to, g,
                  quantize_block(codes + g * block, row<E>(a.input, t) + g * block, block,
                                 table.factors<E>(expert, g * block)));
    }
  }
}

OPSWAP_REF(moe_permute_quant_fp8) {
  order_by_expert(a);
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    expand<E>(a, 0, a.T, quantize_plain<E>);
    return opswap_status{OPSWAP_OK};
  });
}

OPSWAP_CPU(moe_permute_quant_fp8) {
  order_by_expert(a);
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.T, rows_per_task(a.H * a.K),
                 [&](int64_t begin, int64_t end) { expand<E>(a, begin, end, quantize<E>); });
    return opswap_status{OPSWAP_OK};
  });
}

}  // namespace opswap::OPSWAP_ISA
