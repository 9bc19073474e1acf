// __OP__ on a CPU: the plain yardstick, and the version that is compiled for each instruction set.
#include "__OP__.gen.h"

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(__OP__) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t)
      for (int64_t h = 0; h < a.H; ++h) row<E>(a.out, t)[h] = row<E>(a.input, t)[h];
    return OPSWAP_OK;
  });
}

OPSWAP_CPU(__OP__) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.T, rows_per_task(a.H), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t h = 0; h < a.H; ++h) row<E>(a.out, t)[h] = row<E>(a.input, t)[h];
    });
    return OPSWAP_OK;
  });
}

}  // namespace opswap::OPSWAP_ISA
