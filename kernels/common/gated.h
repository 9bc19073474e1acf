// out = activation(gate) * up over rows [gate | up]: the loop that the gated activations share.
#pragma once

#include "common/op.h"
#include "common/stream.h"

namespace opswap::OPSWAP_ISA {

template <class Args, class Activation>
opswap_status gated_rows(const Args &a, Activation &&activation) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    for_output_rows<E>(a.out, a.T, rows_per_task(4 * a.I), [&](auto *out, int64_t t) {
      const E *gate = row<E>(a.input, t), *up = gate + a.I;
      for_lanes(
          a.I, [&](int64_t i) { store(out + i, activation(load(gate + i)) * load(up + i)); },
          [&](int64_t i, int64_t left) {
            store_tail(out + i, activation(load_tail(gate + i, left)) * load_tail(up + i, left), left);
          });
    });
    return opswap_status{OPSWAP_OK};
  });
}

// The same, one element at a time in double.
template <class Args, class Activation>
opswap_status gated_rows_plain(const Args &a, Activation &&activation) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t)
      for (int64_t i = 0; i < a.I; ++i) {
        const E *x = row<E>(a.input, t);
        row<E>(a.out, t)[i] = from_float<E>(float(activation(double(to_float(x[i]))) * to_float(x[a.I + i])));
      }
    return opswap_status{OPSWAP_OK};
  });
}

}  // namespace opswap::OPSWAP_ISA
