// Registers each op as a boxed torch operator that calls the library, and torch operators as implementations of an op.
#include "torch_ops.h"

#include <dlfcn.h>
#include <pybind11/stl.h>

#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "opswap.h"
#include "torch_values.h"

namespace py = pybind11;

namespace opswap_torch {
namespace {

constexpr int kMostSlots = 256, kMostArgs = 32;

enum class Kind { tensor, optional_tensor, real, integer, boolean, string };
struct Slot {
  std::string op;
  std::vector<Kind> kinds;
};
std::deque<Slot> slots;  // stable addresses: an external implementation keeps a pointer

[[noreturn]] void refuse(opswap_status status) {
  throw std::runtime_error(std::string(opswap_status_name(status)) + ": " + opswap_last_error());
}

// The handles that a call from torch gives away. Room for most, and no time for those that are not there.
struct Handles {
  std::array<AtenTensor, kMostArgs> at;
  size_t count = 0;

  Handles() = default;
  Handles(const Handles &) = delete;
  Handles &operator=(const Handles &) = delete;
  ~Handles() {
    for (size_t i = 0; i < count; ++i) DeleteTensor()(at[i]);
  }
  AtenTensor keep(AtenTensor given) { return at[count++] = given; }
};

// One call from torch: owns the tensors of the stack and describes them.
struct Frame {
  const Slot &slot;
  uint64_t inputs;
  Handles handles;
  std::array<DLTensor, kMostArgs> tensors;
  std::array<opswap_arg, kMostArgs> args;
  int32_t device = -1;  // the CUDA device of the first device tensor

  Frame(const Slot &slot_, const StableIValue *stack, uint64_t inputs_) : slot(slot_), inputs(inputs_) {
    for (size_t i = 0; i < inputs; ++i) describe_argument(i, stack[i]);
  }

  void describe_argument(size_t i, StableIValue given) {
    args[i] = {};
    std::pair<bool, StableIValue> value{true, given};
    switch (slot.kinds[i]) {
      case Kind::optional_tensor:
        value = unbox(given);
        [[fallthrough]];
      case Kind::tensor:
        if (!value.first) break;
        describe(handles.keep(take<AtenTensor>(value.second)), tensors[i]);
        if (device < 0 && tensors[i].device.device_type == kDLCUDA) device = tensors[i].device.device_id;
        args[i].tag = OPSWAP_TENSOR;
        args[i].v.tensor = &tensors[i];
        break;
      case Kind::real:
        args[i].tag = OPSWAP_FLOAT;
        args[i].v.f = take<double>(given);
        break;
      case Kind::integer:
        args[i].tag = OPSWAP_INT;
        args[i].v.i = take<int64_t>(given);
        break;
      case Kind::boolean:
        args[i].tag = OPSWAP_BOOL;
        args[i].v.i = take<bool>(given);
        break;
      case Kind::string:
        throw std::runtime_error("OPSWAP_E_ARGUMENT: string arguments are not passed through torch");
    }
  }

  opswap_status call(const opswap_exec *exec) const {
    return opswap_call(slot.op.c_str(), args.data(), int32_t(inputs), exec);
  }
};

// The plan that calls of one op take on this thread, while Python's `planned` is entered.
struct Plan {
  std::string op, bytes;
};
thread_local Plan plan;

opswap_exec exec_for(const Slot &slot) {
  opswap_exec exec{};
  exec.struct_size = sizeof exec;
  if (plan.op == slot.op) {
    exec.plan = plan.bytes.data();
    exec.plan_size = plan.bytes.size();
  }
  return exec;
}

// Runs on the device's current stream; a workspace is torch's memory, which that stream uses again only afterwards.
opswap_status call_on_device(const Frame &frame) {
  opswap_exec exec = exec_for(frame.slot);
  if (!shim.current_stream || shim.current_stream(frame.device, &exec.stream))
    throw std::runtime_error("OPSWAP_E_DEVICE: " + frame.slot.op + ": torch gives no stream of CUDA device " +
                             std::to_string(frame.device));
  if (opswap_status e = opswap_workspace_size(frame.slot.op.c_str(), frame.args.data(), int32_t(frame.inputs), &exec,
                                              &exec.workspace_size))
    return e;
  OwnedTensor workspace;
  if (exec.workspace_size) {
    const int64_t size = int64_t(exec.workspace_size), stride = 1;
    AtenTensor made = nullptr;
    if (shim.aoti_torch_empty_strided(1, &size, &stride, byte_type, cuda_type, frame.device, &made))
      throw std::runtime_error("OPSWAP_E_MEMORY: " + frame.slot.op + ": torch has no " + std::to_string(size) +
                               " bytes of workspace on CUDA device " + std::to_string(frame.device));
    workspace.reset(made);
    shim.aoti_torch_get_data_ptr(made, &exec.workspace);
  }
  return frame.call(&exec);
}

opswap_status call_on_host(const Frame &frame) {
  if (plan.op.empty()) [[likely]]
    return frame.call(nullptr);
  opswap_exec exec = exec_for(frame.slot);
  return frame.call(&exec);
}

void run(const Slot &slot, StableIValue *stack, uint64_t inputs) {
  const Frame frame(slot, stack, inputs);
  if (opswap_status status = frame.device < 0 ? call_on_host(frame) : call_on_device(frame)) [[unlikely]]
    refuse(status);
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

const Slot &slot_of(const std::string &op, Fail fail) {
  for (const Slot &slot : slots)
    if (slot.op == op) return slot;
  fail("OPSWAP_E_NO_OP", "no torch operator is registered for '" + op + "'");
  std::abort();  // fail throws
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

// What a call of a torch operator costs as an implementation of `op`, each of `calls` in nanoseconds, with arguments
// that hold next to nothing.
std::vector<int64_t> time_external(const std::string &op, const std::string &qualified, size_t calls, Fail fail) {
  const Slot &slot = slot_of(op, fail);
  constexpr uint8_t kFloatCode = 2;  // of DLPack
  static float value = 0;
  int64_t one = 1;
  DLTensor tensor{&value, {kDLCPU, 0}, 1, {kFloatCode, 32, 1}, &one, &one, 0};
  std::vector<opswap_arg> args;
  for (const Kind kind : slot.kinds) {
    opswap_arg arg{};
    arg.tag = kind == Kind::real ? OPSWAP_FLOAT : kind == Kind::integer ? OPSWAP_INT : OPSWAP_BOOL;
    if (kind == Kind::tensor || kind == Kind::optional_tensor) arg.tag = OPSWAP_TENSOR, arg.v.tensor = &tensor;
    args.push_back(arg);
  }
  External external{&slot, qualified};
  std::vector<int64_t> times;
  opswap_status status = 0;
  {
    py::gil_scoped_release release;  // as calls of the engine come
    while (!status && times.size() < calls) {
      const auto start = std::chrono::steady_clock::now();
      status = call_external(&external, args.data(), int32_t(args.size()), nullptr);
      times.push_back(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
    }
  }
  if (status) fail(opswap_status_name(status), opswap_last_error());
  return times;
}

void *symbol(void *torch, const char *name, Fail fail) {
  void *found = dlsym(torch, name);
  if (!found)
    fail("OPSWAP_E_ABI", std::string("this torch does not export ") + name + " (opswap needs torch 2.9 or later)");
  return found;
}

// Opens the torch that is loaded already, and runs CPU kernels on its OpenMP team when it has one. `cuda` is the
// library that knows torch's streams.
bool open(const std::string &path, const std::string &cuda, Fail fail) {
  if (void *streams = dlopen(cuda.c_str(), RTLD_NOW | RTLD_NOLOAD))
    shim.current_stream =
        reinterpret_cast<decltype(shim.current_stream)>(dlsym(streams, "aoti_torch_get_current_cuda_stream"));
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
  const auto put = [&](int32_t torch, DLDataType dl) {
    if (torch < 0 || torch >= kMostDTypes) fail("OPSWAP_E_ABI", "torch numbers a dtype " + std::to_string(torch));
    dtypes[size_t(torch)] = dl;
  };
#define X(name, function)     \
  for (auto &[n, dl] : known) \
    if (n == #name) put(number(#function), dl);
  OPSWAP_SHIM_DTYPES(X)
#undef X
  cpu_type = shim.aoti_torch_device_type_cpu();
  cuda_type = shim.aoti_torch_device_type_cuda();
  byte_type = number("aoti_torch_dtype_uint8");
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

// Makes torch.ops.opswap.<op> run the library's active implementation, for tensors of these dispatch keys.
void bind(const std::string &op, const std::vector<std::string> &kinds, const std::vector<std::string> &keys,
          Fail fail) {
  if (slots.size() == kMostSlots || kinds.size() > kMostArgs)
    fail("OPSWAP_E_MEMORY",
         "at most " + std::to_string(kMostSlots) + " ops of " + std::to_string(kMostArgs) + " arguments");
  Slot &slot = slots.emplace_back(Slot{op, {}});
  for (const std::string &k : kinds) slot.kinds.push_back(kind_named(k, fail));
  for (const std::string &key : keys) {
    TorchLibrary library = nullptr;  // never freed: freeing it would take the kernels back
    if (shim.aoti_torch_library_init_impl("opswap", key.c_str(), __FILE__, __LINE__, &library) ||
        shim.aoti_torch_library_impl(library, op.c_str(), kTrampolines[slots.size() - 1]))
      fail("OPSWAP_E_INTERNAL", "torch refused the kernel of opswap::" + op + " for " + key);
  }
}

void add_external(const std::string &op, const std::string &impl, const std::string &qualified,
                  const std::string &absent, const std::string &toggle_class, Fail fail) {
  const Slot &slot = slot_of(op, fail);
  opswap_external external{};
  external.struct_size = sizeof external;
  external.priority = -1;
  external.toggle_class = toggle_class.c_str();
  if (absent.empty()) {
    external.fn = call_external;
    external.ctx = &externals.emplace_back(External{&slot, qualified});
  } else {
    external.absent_reason = absent.c_str();
  }
  if (opswap_status e = opswap_register(op.c_str(), impl.c_str(), &external))
    fail(opswap_status_name(e), opswap_last_error());
}

}  // namespace

void define(py::module_ &m, Fail fail) {
  m.def("torch_open", [fail](const std::string &path, const std::string &cuda) { return open(path, cuda, fail); });
  m.def("torch_bind", [fail](const std::string &op, const std::vector<std::string> &kinds,
                             const std::vector<std::string> &keys) { bind(op, kinds, keys, fail); });
  m.def("torch_plan", [](const std::string &op, const py::bytes &bytes) {
    const Plan before = std::exchange(plan, Plan{op, std::string(bytes)});
    return py::make_tuple(before.op, py::bytes(before.bytes));
  });
  m.def("torch_dispatch", [fail](const std::string &op, const std::string &qualified, size_t calls) {
    return time_external(op, qualified, calls, fail);
  });
  m.def("torch_external",
        [fail](const std::string &op, const std::string &impl, const std::string &qualified, const std::string &absent,
               const std::string &toggle_class) { add_external(op, impl, qualified, absent, toggle_class, fail); });
}

}  // namespace opswap_torch
