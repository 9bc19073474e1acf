// concat on a CPU: two to four tensors one behind the other in the third dimension. One strided copy per tensor.
#include "concat.gen.h"

#include "common/copy.h"

namespace opswap::OPSWAP_ISA {

// For each tensor that is given: body(where its part of `out` starts, its data, the box).
template <class Body>
static void for_parts(const concat_args &a, Body &&body) {
  const int64_t bytes = dtype_bytes(a.scalar_dtype);
  char *to = a.out.as<char>();
  for (const Tensor *part : {&a.first, &a.second, &a.third, &a.fourth}) {
    if (!*part) continue;
    body(to, part->data, make_box(part->shape, a.out.stride, part->stride));
    to += part->shape[2] * a.out.stride[2] * bytes;
  }
}

OPSWAP_REF(concat) {
  for_parts(a, [&](void *to, const void *from, const Box &b) { copy_box_plain(to, from, b, a.scalar_dtype); });
  return OPSWAP_OK;
}

OPSWAP_CPU(concat) {
  for_parts(a, [&](void *to, const void *from, const Box &b) { copy_box(to, from, b, a.scalar_dtype); });
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
