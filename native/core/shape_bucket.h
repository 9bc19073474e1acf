// The shape bucket of a call: the dtype of the op's first type variable, and each symbol of op.json rounded up to a
// power of two (docs/manifest.md says it once for all readers). Five bits a symbol, in the order of the manifest's
// `symbols`.
#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "registry.h"

namespace opswap {

constexpr int kBucketSymbols = 12, kSymbolBits = 5;  // the generator refuses an op of more symbols

// 0 for 0, else one more than the exponent of the power of two at or above n.
constexpr uint64_t size_class(int64_t n) {
  if (n <= 0) return 0;
  const uint64_t exponent = uint64_t(std::bit_width(uint64_t(n) - 1));
  return exponent < 30 ? exponent + 1 : 31;
}
constexpr int64_t size_of_class(uint64_t c) { return c ? int64_t{1} << (c - 1) : 0; }

constexpr uint64_t shape_bucket(DType dtype, std::initializer_list<int64_t> symbols) {
  uint64_t bucket = 0;
  int at = 0;
  for (int64_t n : symbols) bucket |= size_class(n) << (kSymbolBits * at++);
  return bucket | uint64_t(dtype) << (kSymbolBits * kBucketSymbols);
}

// As people read it: "T16 H1024 bfloat16".
std::string bucket_name(const OpSpec &op, uint64_t bucket);

}  // namespace opswap
