// A call's arguments as the bytes of a safetensors file.
#pragma once

#include <string>

#include "bound.h"
#include "cut_call.h"
#include "trace.h"

namespace opswap {

// Whether a recording has this argument's values.
bool is_read(const OpSpec &op, const opswap_arg *args, int32_t i);

// Bytes of the tensors that the op reads, contiguous.
uint64_t recorded_bytes(const OpSpec &op, const CutCall &call);

// `call` is what of `bound` is recorded. Tensors that the op reads carry their values from before the call; of those it
// only writes, scalars and what is not given, `__metadata__` says all there is (docs/recordings.md).
std::string recorded_call(const Op &op, const Bound &bound, const CutCall &call, const Place &place, int64_t time_ns);

}  // namespace opswap
