// The tables of ops and implementations: filled when the library is loaded, searched by name; also implementations that
// a host registers, and the CPU's instruction set.
#include "registry.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "local_evidence.h"
#include "nearest.h"

namespace opswap {
namespace {

constinit ImplRecord *impl_records = nullptr;
constinit CheckRecord *check_records = nullptr;

Isa detect_isa() {
  Isa best = Isa::portable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v3")) best = Isa::avx2;
  if (__builtin_cpu_supports("x86-64-v4")) best = Isa::avx512;
#endif
  if (const char *cap = std::getenv("OPSWAP_CPU_ISA")) {
    for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
      if (!std::strcmp(cap, isa_name(isa))) best = std::min(best, isa);
  }
  return best;
}

constexpr const char *kToggleClasses[] = {"live", "recapture", "restart"};

// As op.json says it of the room's implementation `name`.
const char *toggle_class_of(const OpSpec &op, const char *name) {
  for (int32_t i = 0; i < op.ntoggles; ++i)
    if (!std::strcmp(op.toggles[i].impl, name)) return op.toggles[i].toggle_class;
  return op.toggle_class;
}

// What a host says of its own: one of kToggleClasses, or nullptr when it said something else. A host that was built
// before the field has a smaller struct.
const char *toggle_class_of(const opswap_external &external) {
  const bool told = external.struct_size > offsetof(opswap_external, toggle_class) && external.toggle_class;
  if (!told) return kToggleClasses[0];
  for (const char *known : kToggleClasses)
    if (!std::strcmp(known, external.toggle_class)) return known;
  return nullptr;
}

// Open addressing over the op names: a call by name costs one hash and one compare.
struct Table {
  std::unique_ptr<Op[]> ops;
  std::vector<int16_t> slots;
  std::vector<std::unique_ptr<Impl>> owned;
  std::mutex mutex;  // registrations only

  // First and last eight bytes and the length: names differ there, and it costs two loads.
  static size_t hash(std::string_view s) {
    uint64_t head = 0, tail = 0;
    const size_t n = std::min<size_t>(s.size(), 8);
    if (n == 8) {
      std::memcpy(&head, s.data(), 8);
      std::memcpy(&tail, s.data() + s.size() - 8, 8);
    } else {
      for (size_t i = 0; i < n; ++i) head = head << 8 | uint8_t(s[i]);
    }
    const uint64_t mixed = (head ^ (tail << 1 | tail >> 63) ^ s.size()) * 0x9E3779B97F4A7C15ull;
    return size_t(mixed >> 32);
  }

  Table() : ops(new Op[size_t(kOpCount)]) {
    for (ImplRecord *r = impl_records; r; r = r->next)
      if (r->device_type == kDLCUDA) add_local_evidence(*r);
    size_t size = 4;
    while (size < size_t(kOpCount) * 4) size *= 2;
    slots.assign(size, -1);
    for (int32_t i = 0; i < kOpCount; ++i) {
      ops[i].spec = &kOps[i];
      ops[i].index = int16_t(i);
      size_t at = hash(kOps[i].name) & (size - 1);
      while (slots[at] >= 0) at = (at + 1) & (size - 1);
      slots[at] = int16_t(i);
      add_records(ops[i]);
    }
    for (CheckRecord *c = check_records; c; c = c->next)
      if (Op *op = find(c->op)) op->check = c->check;
  }

  Op *find(std::string_view name) {
    for (size_t at = hash(name) & (slots.size() - 1); slots[at] >= 0; at = (at + 1) & (slots.size() - 1))
      if (name == kOps[slots[at]].name) return &ops[slots[at]];
    return nullptr;
  }

  Impl *add(Op &op) {
    const int32_t n = op.count.load(std::memory_order_relaxed);
    if (n == kMaxImpls) return nullptr;
    op.impls[n] = owned.emplace_back(std::make_unique<Impl>()).get();
    return op.impls[n];
  }

  // The variant for the best instruction set keeps the plain name; the others are there by name, as in cpu@avx2.
  void add_records(Op &op) {
    std::vector<const ImplRecord *> runnable;
    for (ImplRecord *r = impl_records; r; r = r->next)
      if (!std::strcmp(r->op, op.spec->name) && r->isa <= cpu_isa()) runnable.push_back(r);
    std::sort(runnable.begin(), runnable.end(), [](auto *a, auto *b) {
      return a->priority != b->priority ? a->priority < b->priority : a->isa < b->isa;
    });
    for (size_t i = 0; i < runnable.size(); ++i) {
      const ImplRecord *r = runnable[i];
      const bool best = i + 1 == runnable.size() || std::strcmp(runnable[i + 1]->name, r->name);
      Impl *impl = add(op);
      impl->name = best ? r->name : strdup((std::string(r->name) + "@" + isa_name(r->isa)).c_str());
      impl->isa = r->device_type == kDLCUDA ? "sm_90a" : r->priority > 0 ? isa_name(r->isa) : nullptr;
      impl->priority = best ? r->priority : 0;
      impl->device_type = r->device_type;
      impl->record = r;
      impl->toggle_class = toggle_class_of(*op.spec, r->name);
      op.count.fetch_add(1, std::memory_order_release);
      if (r->evidence.experimental) continue;  // runs only when it is named
      std::atomic<Impl *> &choice = r->device_type == kDLCUDA ? op.device_choice : op.active;
      choice.store(impl, std::memory_order_release);  // ascending: the last one is the choice
    }
  }
};

Table &table() {
  static Table *t = new Table;  // never destroyed: calls may come from threads that outlive static destructors
  return *t;
}

}  // namespace

RegisterImpl::RegisterImpl(ImplRecord &r) {
  r.next = impl_records;
  impl_records = &r;
}

RegisterCheck::RegisterCheck(CheckRecord &r) {
  r.next = check_records;
  check_records = &r;
}

Isa cpu_isa() {
  static const Isa isa = detect_isa();
  return isa;
}

const char *isa_name(Isa isa) {
  static constexpr const char *names[] = {"portable", "avx2", "avx512"};
  return names[static_cast<int32_t>(isa)];
}

int32_t op_count() { return kOpCount; }
Op &op_at(int32_t index) { return table().ops[index]; }

Op *find_op(const char *name) {
  Op *op = name ? table().find(name) : nullptr;
  if (!op) [[unlikely]] {
    std::vector<std::string_view> names;
    for (int32_t i = 0; i < kOpCount; ++i) names.push_back(kOps[i].name);
    fail(OPSWAP_E_NO_OP, "there is no op named '%s'%s", name ? name : "(null)", nearest(name, names).c_str());
  }
  return op;
}

Impl *find_impl(Op &op, const char *name) {
  const int32_t n = op.count.load(std::memory_order_acquire);
  for (int32_t i = 0; i < n; ++i)
    if (name && !std::strcmp(op.impls[i]->name, name)) return op.impls[i];
  std::string names;
  for (int32_t i = 0; i < n; ++i) names += (i ? ", " : "") + std::string(op.impls[i]->name);
  fail(OPSWAP_E_NO_IMPL, "%s: there is no implementation named '%s'; it has %s", op.spec->name, name ? name : "(null)",
       names.c_str());
  return nullptr;
}

int16_t impl_index(const Op &op, const Impl *impl) {
  for (int16_t i = 0; i < op.count.load(std::memory_order_acquire); ++i)
    if (op.impls[i] == impl) return i;
  return -1;
}

uint64_t calls_of(const Op &op) {
  uint64_t calls = 0;
  for (int32_t i = 0; i < op.count.load(std::memory_order_acquire); ++i)
    calls += op.impls[i]->stats.calls.load(std::memory_order_relaxed);
  return calls;
}

}  // namespace opswap

using namespace opswap;

extern "C" opswap_status opswap_register(const char *op_name, const char *impl_name, const opswap_external *external) {
  constexpr size_t kFirst = offsetof(opswap_external, toggle_class);
  if (!impl_name || !*impl_name || !external || external->struct_size < kFirst)
    return fail(OPSWAP_E_ARGUMENT, "opswap_register: needs a name and a filled opswap_external of %zu bytes", kFirst);
  const char *toggle_class = toggle_class_of(*external);
  if (!toggle_class)
    return fail(OPSWAP_E_ARGUMENT, "opswap_register: toggle_class of %s is '%s', expected live, recapture or restart",
                impl_name, external->toggle_class);
  if (!external->fn && !external->absent_reason)
    return fail(OPSWAP_E_ARGUMENT, "opswap_register: %s without a function needs the reason why it is absent",
                impl_name);
  Op *op = find_op(op_name);
  if (!op) return OPSWAP_E_NO_OP;
  std::lock_guard lock(table().mutex);
  for (int32_t i = 0; i < op->count.load(); ++i)
    if (!std::strcmp(op->impls[i]->name, impl_name))
      return fail(OPSWAP_E_EXISTS, "%s: an implementation named '%s' is registered already", op_name, impl_name);
  Impl *impl = table().add(*op);
  if (!impl)
    return fail(OPSWAP_E_MEMORY, "%s: has %d implementations already, the most a build keeps", op_name, kMaxImpls);
  impl->name = strdup(impl_name);  // kept for the life of the process, like the implementation
  impl->priority = external->priority;
  impl->external = true;
  impl->external_fn = external->fn;
  impl->external_ctx = external->ctx;
  impl->absent_reason = external->absent_reason ? strdup(external->absent_reason) : nullptr;
  impl->toggle_class = toggle_class;
  op->count.fetch_add(1, std::memory_order_release);
  return OPSWAP_OK;
}
