// The name of a shape bucket.
#include "shape_bucket.h"

#include "check.h"

namespace opswap {

std::string bucket_name(const OpSpec &op, uint64_t bucket) {
  std::string name;
  for (int32_t i = 0; i < op.nsymbols; ++i) {
    const uint64_t size = bucket >> (kSymbolBits * i) & ((1u << kSymbolBits) - 1);
    name += op.symbols[i] + std::to_string(size_of_class(size)) + " ";
  }
  const uint64_t dtype = bucket >> (kSymbolBits * kBucketSymbols);
  return name + (dtype < uint64_t(DType::count) ? dtype_name(DType(dtype)) : "?");
}

}  // namespace opswap
