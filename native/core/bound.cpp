// Checks and binds the arguments of a call; of a quantised one, data and scale go where the op has them.
#include "bound.h"

#include <algorithm>
#include <cstring>

#include "check.h"

namespace opswap {
namespace {

const QuantizedSpec *spec_of(const OpSpec &op, int32_t index) {
  const QuantizedSpec *const end = op.quantized + op.nquantized;
  const QuantizedSpec *found = std::find_if(op.quantized, end, [&](const QuantizedSpec &q) { return q.data == index; });
  return found == end ? nullptr : found;
}

// Puts data and scale where the op has them; the argument of the scale must not be given beside them.
opswap_status take_apart(const OpSpec &op, int32_t index, opswap_arg *args) {
  const opswap_quantized *q = args[index].v.quantized;
  const QuantizedSpec *spec = spec_of(op, index);
  if (!spec)
    return fail(OPSWAP_E_ARGUMENT, "%s: argument %d is quantised, needs what docs/ops.md says", op.name, index);
  if (!q) return fail(OPSWAP_E_NULL, "%s: the quantised argument %d is null", op.name, index);
  if (q->struct_size < sizeof *q)
    return fail(OPSWAP_E_ABI, "opswap_quantized has %u bytes, this build needs %zu", q->struct_size, sizeof *q);
  if (!q->data || !q->scale)
    return fail(OPSWAP_E_NULL, "%s: the quantised argument %d has no %s", op.name, index, q->data ? "scale" : "data");
  if (!q->layout || std::strcmp(q->layout, spec->layout))
    return fail(OPSWAP_E_LAYOUT, "%s: argument %d is in layout '%s', needs '%s'", op.name, index,
                q->layout ? q->layout : "", spec->layout);
  if (q->zeros) return fail(OPSWAP_E_LAYOUT, "%s: layout '%s' has no zeros, came with some", op.name, spec->layout);
  if (args[spec->scale].tag != OPSWAP_NONE)
    return fail(OPSWAP_E_ARGUMENT, "%s: argument %d is quantised and has its scale, but argument %d is given as well",
                op.name, index, spec->scale);
  args[index] = {OPSWAP_TENSOR, 0, {.tensor = q->data}};
  args[spec->scale] = {OPSWAP_TENSOR, 0, {.tensor = q->scale}};
  return OPSWAP_OK;
}

// `e` is what the tensors alone came to; it stays where no argument is quantised.
[[gnu::cold]] opswap_status bind_quantized(const OpSpec &op, const opswap_arg *args, Bound &bound, opswap_status e) {
  const auto is_quantized = [](const opswap_arg &a) { return a.tag == OPSWAP_QUANTIZED; };
  if (std::none_of(args, args + op.nargs, is_quantized)) return e;
  std::copy_n(args, op.nargs, bound.apart);
  for (int32_t i = 0; i < op.nargs; ++i)
    if (is_quantized(args[i]))
      if (opswap_status wrong = take_apart(op, i, bound.apart)) return wrong;
  bound.given = bound.apart;
  return op.bind(bound.apart, bound.args);
}

}  // namespace

opswap_status bind(const Op &op, const opswap_arg *args, int32_t nargs, Bound &bound) {
  if (nargs != op.spec->nargs) [[unlikely]]
    return cold::count(op.spec->name, nargs, op.spec->nargs);
  if (!args) [[unlikely]]
    return fail(OPSWAP_E_NULL, "%s: the argument array is null", op.spec->name);
  bound.given = args;
  if (opswap_status e = op.spec->bind(args, bound.args)) [[unlikely]]
    if ((e = bind_quantized(*op.spec, args, bound, e))) return e;
  if (op.check && bound.base().device_type == kDLCPU) return op.check(bound.args);
  return OPSWAP_OK;
}

}  // namespace opswap
