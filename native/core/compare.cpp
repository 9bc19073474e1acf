// Compares outputs: one pass over the elements in order of the index, rows of the last dimension at a time.
#include "compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"

#define OPSWAP_ISA isa_compare
#include "common/scalar.h"

namespace opswap {
namespace {

using isa_compare::bf16;
using isa_compare::fp16;
using isa_compare::to_float;

struct e4m3 {
  uint8_t bits;
};
struct e5m2 {
  uint8_t bits;
};

double value(float x) { return x; }
double value(double x) { return x; }
double value(bf16 x) { return to_float(x); }
double value(fp16 x) { return to_float(x); }
double value(e5m2 x) { return to_float(fp16{uint16_t(x.bits << 8)}); }
double value(e4m3 x) {
  const int exponent = x.bits >> 3 & 15, mantissa = x.bits & 7;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<double>::quiet_NaN();
  const double magnitude = exponent ? std::ldexp(8 + mantissa, exponent - 10) : std::ldexp(mantissa, -9);
  return x.bits & 0x80 ? -magnitude : magnitude;
}
void see(double got, double expected, const Tolerance &limit, Difference &d) {
  ++d.elements;
  if (got == expected || (std::isnan(got) && std::isnan(expected))) return;
  ++d.differing;
  if (!std::isfinite(got) || !std::isfinite(expected)) {
    ++d.outside;
    d.became_nonfinite += std::isfinite(expected);
    return;
  }
  const double apart = std::fabs(got - expected), allowed = limit.atol + limit.rtol * std::fabs(expected);
  d.max_abs = std::max(d.max_abs, apart);
  d.worst = std::max(d.worst, allowed > 0 ? apart / allowed : std::numeric_limits<double>::infinity());
  d.outside += apart > allowed;
}

// Integers as they are: from 2^53 on neighbours are one double.
template <class T>
  requires std::is_integral_v<T>
T value(T x) {
  return x;
}

template <class T>
  requires std::is_integral_v<T>
void see(T got, T expected, const Tolerance &limit, Difference &d) {
  ++d.elements;
  if (got == expected) return;
  ++d.differing;
  const auto [low, high] = std::minmax(got, expected);
  const double apart = double(uint64_t(high) - uint64_t(low));  // of any two int64, without overflow
  const double allowed = limit.atol + limit.rtol * std::fabs(double(expected));
  d.max_abs = std::max(d.max_abs, apart);
  d.worst = std::max(d.worst, allowed > 0 ? apart / allowed : std::numeric_limits<double>::infinity());
  d.outside += apart > allowed;
}

template <class T>
void compare_row(const T *got, int64_t got_stride, const T *expected, int64_t expected_stride, int64_t n,
                 const Tolerance &limit, Difference &d) {
  // Most rows are the same to the bit, which takes a fraction of the time to see.
  if (n && got_stride == 1 && expected_stride == 1 && !std::memcmp(got, expected, size_t(n) * sizeof(T))) {
    d.elements += uint64_t(n);
    return;
  }
  for (int64_t i = 0; i < n; ++i) see(value(got[i * got_stride]), value(expected[i * expected_stride]), limit, d);
}

const char *data_of(const DLTensor &t) { return static_cast<const char *>(t.data) + t.byte_offset; }

// Goes over all dimensions but the last one.
template <class T>
void compare_from(const DLTensor &g, const T *got, const DLTensor &e, const T *expected, int32_t dim,
                  const Tolerance &limit, Difference &d) {
  const int64_t n = g.shape[dim], gs = g.strides[dim], es = e.strides[dim];
  if (dim + 1 == g.ndim) return compare_row(got, gs, expected, es, n, limit, d);
  for (int64_t i = 0; i < n; ++i) compare_from(g, got + i * gs, e, expected + i * es, dim + 1, limit, d);
}

template <class T>
Difference compare_as(const DLTensor &got, const DLTensor &expected, const Tolerance &limit) {
  Difference d;
  const T *g = reinterpret_cast<const T *>(data_of(got)), *e = reinterpret_cast<const T *>(data_of(expected));
  if (got.ndim)
    compare_from(got, g, expected, e, 0, limit, d);
  else
    see(value(*g), value(*e), limit, d);
  return d;
}

}  // namespace

void Difference::add(const Difference &other) {
  elements += other.elements;
  differing += other.differing;
  outside += other.outside;
  became_nonfinite += other.became_nonfinite;
  max_abs = std::max(max_abs, other.max_abs);
  worst = std::max(worst, other.worst);
}

Difference compare(const DLTensor &got, const DLTensor &expected, const Tolerance &limit) {
  switch (dtype_of(expected.dtype)) {
    case DType::float32:
      return compare_as<float>(got, expected, limit);
    case DType::bfloat16:
      return compare_as<bf16>(got, expected, limit);
    case DType::float16:
      return compare_as<fp16>(got, expected, limit);
    case DType::float64:
      return compare_as<double>(got, expected, limit);
    case DType::int64:
      return compare_as<int64_t>(got, expected, limit);
    case DType::int32:
      return compare_as<int32_t>(got, expected, limit);
    case DType::int8:
      return compare_as<int8_t>(got, expected, limit);
    case DType::float8_e4m3fn:
      return compare_as<e4m3>(got, expected, limit);
    case DType::float8_e5m2:
      return compare_as<e5m2>(got, expected, limit);
    default:
      return compare_as<uint8_t>(got, expected, limit);
  }
}

Tolerance tolerance_of(const OpSpec &op, DType dtype) {
  const Tolerance *const end = op.tolerances + op.ntolerances;
  const Tolerance *found = std::find_if(op.tolerances, end, [&](const Tolerance &t) { return t.dtype == dtype; });
  return found == end ? Tolerance{dtype, 0, 0, 0} : *found;
}

}  // namespace opswap
