// copy on a CPU: a copy between any strides. The loops of common/copy.h.
#include "copy.gen.h"

#include "common/copy.h"

namespace opswap::OPSWAP_ISA {

static Box box_of(const copy_args &a) { return make_box(a.out.shape, a.out.stride, a.input.stride); }

OPSWAP_REF(copy) {
  copy_box_plain(a.out.data, a.input.data, box_of(a), a.scalar_dtype);
  return OPSWAP_OK;
}

OPSWAP_CPU(copy) {
  copy_box(a.out.data, a.input.data, box_of(a), a.scalar_dtype);
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
