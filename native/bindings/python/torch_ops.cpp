#include "torch_ops.h"

#include <dlfcn.h>
#include <pybind11/stl.h>

#include <array>
#include <deque>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "opswap.h"
#include "torch_shim.h"

namespace py = pybind11;

namespace opswap_torch {
namespace {

constexpr int kMostSlots = 256, kMostArgs = 32;

struct Shim {
#define X(result, name, params) result(*name) params = nullptr;
  OPSWAP_SHIM_FUNCTIONS(X)
#undef X
  int32_t (*new_value)(StableIValue **) = nullptr;  // torch 2.13+; before, operator new
  int32_t (*delete_value)(StableIValue *) = nullptr;
  const char *(*what)() = nullptr;
} shim;

struct DTypeRow {
  int32_t torch;
  DLDataType dl;
};
std::vector<DTypeRow> dtypes;
int32_t cpu_type = 0, cuda_type = 1;

enum class Kind { tensor, optional_tensor, real, integer, boolean, string };
struct Slot {
  std::string op;
  std::vector<Kind> kinds;
};
std::deque<Slot> slots;  // stable addresses: an external implementation keeps a pointer

// A tensor handle that this frame owns.
struct DeleteTensor {
  void operator()(AtenTensor t) const { shim.aoti_torch_delete_tensor_object(t); }
};
using OwnedTensor = std::unique_ptr<AtenTensorOpaque, DeleteTensor>;

template <class T>
T take(StableIValue v) {
  T out;
  static_assert(sizeof(T) <= sizeof v);
  __builtin_memcpy(&out, &v, sizeof out);
  return out;
}
template <class T>
StableIValue give(T v) {
  StableIValue out = 0;
  __builtin_memcpy(&out, &v, sizeof v);
  return out;
}

// The value inside an optional; frees the box.
std::pair<bool, StableIValue> unbox(StableIValue v) {
  StableIValue *box = take<StableIValue *>(v);
  if (!box) return {false, 0};
  const StableIValue inner = *box;
  shim.delete_value ? void(shim.delete_value(box)) : delete box;
  return {true, inner};
}
StableIValue box(StableIValue v) {
  StableIValue *b = nullptr;
  if (shim.new_value)
    shim.new_value(&b);
  else
    b = new StableIValue;
  *b = v;
  return give(b);
}

DLDataType dl_dtype(int32_t torch) {
  for (const DTypeRow &d : dtypes)
    if (d.torch == torch) return d.dl;
  return {255, 0, 0};  // refused by the library with the argument's name
}

void describe(AtenTensor t, DLTensor &out) {
  int32_t dtype = 0, device = 0, index = 0;
  int64_t dim = 0;
  shim.aoti_torch_get_data_ptr(t, &out.data);
  shim.aoti_torch_get_dim(t, &dim);
  shim.aoti_torch_get_sizes(t, &out.shape);
  shim.aoti_torch_get_strides(t, &out.strides);
  shim.aoti_torch_get_dtype(t, &dtype);
  shim.aoti_torch_get_device_type(t, &device);
  if (device != cpu_type) shim.aoti_torch_get_device_index(t, &index);
  out.ndim = int32_t(dim);
  out.dtype = dl_dtype(dtype);
  out.device = {device == cpu_type ? kDLCPU : device == cuda_type ? kDLCUDA : -1, index};
  out.byte_offset = 0;
}

// One call from torch: owns the tensors of the stack, describes them, calls the library.
void run(const Slot &slot, StableIValue *stack, uint64_t inputs) {
  std::array<OwnedTensor, kMostArgs> owned;
  std::array<DLTensor, kMostArgs> tensors;
  std::array<opswap_arg, kMostArgs> args;
  for (size_t i = 0; i < inputs; ++i) {
    args[i] = {};
    std::pair<bool, StableIValue> value{true, stack[i]};
    switch (slot.kinds[i]) {
      case Kind::optional_tensor:
        value = unbox(stack[i]);
        [[fallthrough]];
      case Kind::tensor:
        if (!value.first) break;
        owned[i].reset(take<AtenTensor>(value.second));
        describe(owned[i].get(), tensors[i]);
        args[i].tag = OPSWAP_TENSOR;
        args[i].v.tensor = &tensors[i];
        break;
      case Kind::real:
        args[i].tag = OPSWAP_FLOAT;
        args[i].v.f = take<double>(stack[i]);
        break;
      case Kind::integer:
        args[i].tag = OPSWAP_INT;
        args[i].v.i = take<int64_t>(stack[i]);
        break;
      case Kind::boolean:
        args[i].tag = OPSWAP_BOOL;
        args[i].v.i = take<bool>(stack[i]);
        break;
      case Kind::string:
        throw std::runtime_error("OPSWAP_E_ARGUMENT: string arguments are not passed through torch");
    }
  }
  if (opswap_status status = opswap_call(slot.op.c_str(), args.data(), int32_t(inputs), nullptr)) [[unlikely]]
    throw std::runtime_error(std::string(opswap_status_name(status)) + ": " + opswap_last_error());
}

// The function pointer that torch keeps has no context, so each slot has its own trampoline.
template <int I>
void trampoline(StableIValue *stack, uint64_t inputs, uint64_t) {
  run(slots[I], stack, inputs);
}
template <int... I>
constexpr std::array<Boxed, sizeof...(I)> make_trampolines(std::integer_sequence<int, I...>) {
  return {trampoline<I>...};
}
constexpr auto kTrampolines = make_trampolines(std::make_integer_sequence<int, kMostSlots>{});

// An implementation that is a torch operator of the same schema: describes the arguments as tensors and dispatches.
struct External {
  const Slot *slot;
  std::string op;  // qualified name of the operator that runs it
};
std::deque<External> externals;

int32_t torch_dtype(DLDataType t) {
  for (const DTypeRow &d : dtypes)
    if (d.dl.code == t.code && d.dl.bits == t.bits) return d.torch;
  return -1;
}

StableIValue give_tensor(const DLTensor &t) {
  AtenTensor handle = nullptr;
  const int32_t device = t.device.device_type == kDLCPU ? cpu_type : cuda_type;
  shim.aoti_torch_create_tensor_from_blob(static_cast<char *>(t.data) + t.byte_offset, t.ndim, t.shape, t.strides, 0,
                                          torch_dtype(t.dtype), device, t.device.device_id, &handle);
  return give(handle);
}

opswap_status call_external(void *ctx, const opswap_arg *args, int32_t nargs, const opswap_exec *) {
  const External &external = *static_cast<External *>(ctx);
  StableIValue stack[kMostArgs] = {};
  for (int32_t i = 0; i < nargs; ++i) {
    const bool optional = external.slot->kinds[size_t(i)] == Kind::optional_tensor;
    switch (args[i].tag) {
      case OPSWAP_TENSOR:
        stack[i] = give_tensor(*args[i].v.tensor);
        if (optional) stack[i] = box(stack[i]);
        break;
      case OPSWAP_FLOAT:
        stack[i] = give(args[i].v.f);
        break;
      case OPSWAP_BOOL:
        stack[i] = give(args[i].v.i != 0);
        break;
      case OPSWAP_INT:
        stack[i] = external.slot->kinds[size_t(i)] == Kind::real ? give(double(args[i].v.i)) : give(args[i].v.i);
        break;
      default:
        break;  // a tensor that is not given is a null box
    }
  }
  if (!shim.aoti_torch_call_dispatcher(external.op.c_str(), "", stack)) return 0;
  const std::string what = external.op + ": " + (shim.what ? shim.what() : "it raised an exception");
  return opswap_set_error(19 /* OPSWAP_E_EXTERNAL */, what.c_str());
}

void *symbol(void *torch, const char *name, Fail fail) {
  void *found = dlsym(torch, name);
  if (!found)
    fail("OPSWAP_E_ABI", std::string("this torch does not export ") + name + " (opswap needs torch 2.9 or later)");
  return found;
}

// Opens the torch that is loaded already, and runs CPU kernels on its OpenMP team when it has one.
bool open(const std::string &path, Fail fail) {
  void *torch = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (!torch) fail("OPSWAP_E_ABI", path + " is not loaded in this process: import torch first");
#define X(result, name, params) shim.name = reinterpret_cast<result(*) params>(symbol(torch, #name, fail));
  OPSWAP_SHIM_FUNCTIONS(X)
#undef X
  shim.new_value = reinterpret_cast<int32_t (*)(StableIValue **)>(dlsym(torch, "torch_new_stable_ivalue"));
  shim.delete_value = reinterpret_cast<int32_t (*)(StableIValue *)>(dlsym(torch, "torch_delete_stable_ivalue"));
  shim.what = reinterpret_cast<const char *(*)()>(dlsym(torch, "torch_exception_get_what_without_backtrace"));
  const auto number = [&](const char *name) { return reinterpret_cast<int32_t (*)()>(symbol(torch, name, fail))(); };
  std::vector<std::pair<std::string, DLDataType>> known;
#define X(name, code, bits, bytes) known.push_back({#name, {code, bits, 1}});
#include "../../core/dtypes.def"
#undef X
  dtypes.clear();
#define X(name, function)     \
  for (auto &[n, dl] : known) \
    if (n == #name) dtypes.push_back({number(#function), dl});
  OPSWAP_SHIM_DTYPES(X)
#undef X
  cpu_type = shim.aoti_torch_device_type_cpu();
  cuda_type = shim.aoti_torch_device_type_cuda();
  auto team = reinterpret_cast<opswap_host_parallel>(dlsym(torch, "GOMP_parallel"));
  if (team) opswap_set_host_parallel(team);
  return team != nullptr;
}

Kind kind_named(const std::string &name, Fail fail) {
  if (name == "tensor") return Kind::tensor;
  if (name == "tensor?") return Kind::optional_tensor;
  if (name == "float") return Kind::real;
  if (name == "int") return Kind::integer;
  if (name == "bool") return Kind::boolean;
  if (name == "string") return Kind::string;
  fail("OPSWAP_E_ARGUMENT", "unknown argument kind '" + name + "'");
  return Kind::tensor;
}

// Makes torch.ops.opswap.<op> run the library's active implementation.
void bind(const std::string &op, const std::vector<std::string> &kinds, const std::string &dispatch_key, Fail fail) {
  if (slots.size() == kMostSlots || kinds.size() > kMostArgs)
    fail("OPSWAP_E_MEMORY",
         "at most " + std::to_string(kMostSlots) + " ops of " + std::to_string(kMostArgs) + " arguments");
  Slot &slot = slots.emplace_back(Slot{op, {}});
  for (const std::string &k : kinds) slot.kinds.push_back(kind_named(k, fail));
  TorchLibrary library = nullptr;  // never freed: freeing it would take the kernels back
  if (shim.aoti_torch_library_init_impl("opswap", dispatch_key.c_str(), __FILE__, __LINE__, &library) ||
      shim.aoti_torch_library_impl(library, op.c_str(), kTrampolines[slots.size() - 1]))
    fail("OPSWAP_E_INTERNAL", "torch refused the kernel of opswap::" + op);
}

void add_external(const std::string &op, const std::string &impl, const std::string &qualified,
                  const std::string &absent, Fail fail) {
  const Slot *slot = nullptr;
  for (const Slot &s : slots)
    if (s.op == op) slot = &s;
  if (!slot) fail("OPSWAP_E_NO_OP", "no torch operator is registered for '" + op + "'");
  opswap_external external{};
  external.struct_size = sizeof external;
  external.priority = -1;
  if (absent.empty()) {
    external.fn = call_external;
    external.ctx = &externals.emplace_back(External{slot, qualified});
  } else {
    external.absent_reason = absent.c_str();
  }
  if (opswap_status e = opswap_register(op.c_str(), impl.c_str(), &external))
    fail(opswap_status_name(e), opswap_last_error());
}

}  // namespace

void define(py::module_ &m, Fail fail) {
  m.def("torch_open", [fail](const std::string &path) { return open(path, fail); });
  m.def("torch_bind", [fail](const std::string &op, const std::vector<std::string> &kinds, const std::string &key) {
    bind(op, kinds, key, fail);
  });
  m.def("torch_external", [fail](const std::string &op, const std::string &impl, const std::string &qualified,
                                 const std::string &absent) { add_external(op, impl, qualified, absent, fail); });
}

}  // namespace opswap_torch
