// concat on sm_90a: two to four tensors one behind the other in the third dimension. All parts are copied in one
// launch.
#include "concat.gen.h"

#include "common/device/copy_box.h"

namespace opswap::OPSWAP_PASS {

// All parts in one launch; a tensor that is not given is an empty box.
// sass copy_boxes_kernel<uint4, 4>: LDG=128 STG=128
OPSWAP_SM90(concat) {
  const int64_t element = dtype_bytes(a.scalar_dtype);
  const Tensor *parts[] = {&a.first, &a.second, &a.third, &a.fourth};
  BoxCopies<4> copies{};
  char *to = a.out.as<char>();
  for (int i = 0; i < 4; ++i) {
    const Tensor &part = *parts[i];
    copies.part[i].box.shape[0] = 0;
    if (!part) continue;
    copies.part[i] = {to, part.data, make_box(part.shape, a.out.stride, part.stride)};
    to += part.shape[2] * a.out.stride[2] * element;
  }
  return copy_boxes(exec, copies, element);
}

}  // namespace opswap::OPSWAP_PASS
