// Makes a plan with a header in front that has a digest of its call, and refuses a plan whose header is of another
// call.
#include "plan.h"

#include <cmath>
#include <cstring>

namespace opswap {
namespace {

// FNV-1a: equal calls are told from others; it is no protection against forgery.
struct Digest {
  uint64_t value = 0xcbf29ce484222325;
  void add(const void *bytes, size_t n) {
    for (size_t i = 0; i < n; ++i) value = (value ^ static_cast<const unsigned char *>(bytes)[i]) * 0x100000001b3;
  }
  void add(const char *text) { add(text, std::strlen(text) + 1); }
  template <class T>
  void number(T x) {
    add(&x, sizeof x);
  }
};

void add_argument(Digest &digest, const opswap_arg &arg) {
  // A whole number may come as an int or as a float.
  if (arg.tag == OPSWAP_FLOAT && std::fabs(arg.v.f) < 0x1p62 && arg.v.f == std::trunc(arg.v.f)) {
    digest.number(int32_t{OPSWAP_INT});
    digest.number(int64_t(arg.v.f));
    return;
  }
  digest.number(arg.tag);
  if (arg.tag == OPSWAP_TENSOR) {
    const DLTensor &t = *arg.v.tensor;
    digest.number(uint32_t(t.dtype.code) << 24 | uint32_t(t.dtype.bits) << 16 | t.dtype.lanes);
    digest.number(t.ndim);
    digest.add(t.shape, size_t(t.ndim) * sizeof *t.shape);
  } else if (arg.tag == OPSWAP_STRING) {
    digest.add(arg.v.s);
  } else if (arg.tag != OPSWAP_NONE) {
    digest.number(arg.v.i);
  }
}

uint64_t digest_of(const Op &op, const Impl &impl, const Bound &bound) {
  Digest digest;
  digest.add(kBuildDigest);
  digest.add(op.spec->name);
  digest.add(impl.name);
  for (int32_t i = 0; i < op.spec->nargs; ++i) add_argument(digest, bound.given[i]);
  return digest.value;
}

size_t own_size(const Impl &impl, const Bound &bound, const opswap_exec &exec) {
  return impl.record && impl.record->plan_size ? impl.record->plan_size(bound.args, exec) : 0;
}

opswap_status unfit(const Op &op, const Impl &impl, const char *why) {
  return fail(OPSWAP_E_PLAN, "%s: the plan for implementation '%s' %s", op.spec->name, impl.name, why);
}

}  // namespace

size_t plan_size(const Impl &impl, const Bound &bound, const opswap_exec &exec) {
  const size_t own = own_size(impl, bound, exec);
  return own ? sizeof(PlanHeader) + own : 0;
}

void *begin_plan(const Op &op, const Impl &impl, const Bound &bound, const opswap_exec &exec, void *plan) {
  const PlanHeader header{PlanHeader::kMagic, PlanHeader::kVersion, digest_of(op, impl, bound),
                          own_size(impl, bound, exec), 0};
  std::memcpy(plan, &header, sizeof header);
  return static_cast<char *>(plan) + sizeof header;
}

opswap_status make_plan(const Op &op, const Impl &impl, const Bound &bound, const opswap_exec &exec, void *plan) {
  return impl.record->plan(bound.args, exec, begin_plan(op, impl, bound, exec, plan));
}

opswap_status open_plan(const Op &op, const Impl &impl, const Bound &bound, opswap_exec &exec) {
  PlanHeader header;
  const size_t own = own_size(impl, bound, exec);
  if (!own) return unfit(op, impl, "cannot be used: it makes none for these arguments");
  if (exec.plan_size != sizeof header + own) return unfit(op, impl, "has not the size that opswap_plan says");
  std::memcpy(&header, exec.plan, sizeof header);
  if (header.magic != PlanHeader::kMagic || header.version != PlanHeader::kVersion || header.size != own)
    return unfit(op, impl, "is not one of this version");
  if (header.call != digest_of(op, impl, bound))
    return unfit(op, impl,
                 "was made for other shapes, dtypes or scalars, for another implementation, or by another build");
  exec.plan = static_cast<const char *>(exec.plan) + sizeof header;
  exec.plan_size = own;
  return OPSWAP_OK;
}

}  // namespace opswap
