// The arguments of one call, checked: what the generated bind function made of the packed ones.
#pragma once

#include "registry.h"

namespace opswap {

struct Bound {
  alignas(16) unsigned char args[kArgsRoom];
  const opswap_arg *given;      // the packed arguments, with quantised ones taken apart
  opswap_arg apart[kMostArgs];  // where they are, if there are any
  const ArgsBase &base() const { return *reinterpret_cast<const ArgsBase *>(args); }
};

// Checks `args` against op.json. A quantised argument stands for the tensors that its op keeps its parts in.
opswap_status bind(const Op &op, const opswap_arg *args, int32_t nargs, Bound &bound);

}  // namespace opswap
