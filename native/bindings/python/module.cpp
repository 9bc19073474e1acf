// opswap._opswap: the C ABI for Python. It names no op; arguments are Tensor descriptors and plain scalars.
#include <dlfcn.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fault_lines.h"
#include "opswap_builds.h"
#include "opswap_plans.h"
#include "torch_ops.h"

namespace py = pybind11;

namespace {

struct DTypeCode {
  const char *name;
  uint8_t code, bits;
};
constexpr DTypeCode kDTypes[] = {
#define X(name, code, bits, bytes) {#name, code, bits},
#include "../../core/dtypes.def"
#undef X
};

// A status that is not success, on its way to opswap.OpswapError(code, message).
struct Failure {
  std::string code, message;
};

void check(opswap_status status) {
  if (status) throw Failure{opswap_status_name(status), opswap_last_error()};
}

DLDataType dtype_named(const std::string &name) {
  for (const DTypeCode &d : kDTypes)
    if (name == d.name || name + "_" == d.name) return {d.code, d.bits, 1};
  throw Failure{"OPSWAP_E_DTYPE", "dtype '" + name + "' is none of the library's"};
}

// Memory that Python owns, described for one call; the caller keeps the array alive.
struct TensorRef {
  DLTensor dl;
  std::vector<int64_t> shape, strides;
  py::object owner;  // what keeps the memory, when not the caller
  bool read_only = false, copied = false;

  TensorRef(uintptr_t data, const std::string &dtype, std::vector<int64_t> shape_, std::vector<int64_t> strides_,
            int32_t device_type, int32_t device_id)
      : shape(std::move(shape_)), strides(std::move(strides_)) {
    if (shape.size() != strides.size()) throw Failure{"OPSWAP_E_RANK", "shape and strides differ in length"};
    dl = {reinterpret_cast<void *>(data),
          {device_type, device_id},
          int32_t(shape.size()),
          dtype_named(dtype),
          shape.data(),
          strides.data(),
          0};
  }
  TensorRef(const DLTensor &from, py::object owner_)
      : dl(from), shape(from.shape, from.shape + from.ndim), strides(shape.size(), 1), owner(std::move(owner_)) {
    const int32_t type = from.device.device_type;
    dl.device.device_type = type == kDLCUDAHost ? kDLCPU : type == kDLCUDAManaged ? kDLCUDA : type;
    for (size_t d = shape.size(); d > 1; --d) strides[d - 2] = strides[d - 1] * shape[d - 1];
    if (from.strides) strides.assign(from.strides, from.strides + from.ndim);
    dl.shape = shape.data();
    dl.strides = strides.data();
  }
  TensorRef(const TensorRef &) = delete;
};

// Data and scale in a layout, as one argument; keeps both.
struct QuantizedRef {
  opswap_quantized value{};
  py::object data, scale;
  std::string layout;

  QuantizedRef(const py::object &data_, const py::object &scale_, std::string layout_)
      : data(data_), scale(scale_), layout(std::move(layout_)) {
    value.struct_size = sizeof value;
    value.data = &data.cast<TensorRef &>().dl;
    value.scale = &scale.cast<TensorRef &>().dl;
    value.layout = layout.c_str();
  }
  QuantizedRef(const QuantizedRef &) = delete;
};

opswap_arg to_arg(const py::handle &value) {
  opswap_arg arg{};
  if (value.is_none()) {
    arg.tag = OPSWAP_NONE;
  } else if (py::isinstance<py::bool_>(value)) {
    arg.tag = OPSWAP_BOOL;
    arg.v.i = value.cast<bool>();
  } else if (py::isinstance<py::int_>(value)) {
    arg.tag = OPSWAP_INT;
    arg.v.i = value.cast<int64_t>();
  } else if (py::isinstance<py::float_>(value)) {
    arg.tag = OPSWAP_FLOAT;
    arg.v.f = value.cast<double>();
  } else if (py::isinstance<py::str>(value)) {
    arg.tag = OPSWAP_STRING;
    arg.v.s = PyUnicode_AsUTF8(value.ptr());
  } else if (py::isinstance<TensorRef>(value)) {
    arg.tag = OPSWAP_TENSOR;
    arg.v.tensor = &value.cast<TensorRef &>().dl;
  } else if (py::isinstance<QuantizedRef>(value)) {
    arg.tag = OPSWAP_QUANTIZED;
    arg.v.quantized = &value.cast<QuantizedRef &>().value;
  } else {
    throw Failure{"OPSWAP_E_ARGUMENT", "an argument is a " + std::string(py::str(py::type::of(value))) +
                                           ", needs a tensor, int, float, bool, str or None"};
  }
  return arg;
}

std::vector<opswap_arg> to_args(const py::sequence &values) {
  std::vector<opswap_arg> args;
  for (const py::handle &v : values) args.push_back(to_arg(v));
  return args;
}

// The capsule stays the producer's until the caller drops it, and so does the memory.
std::unique_ptr<TensorRef> from_dlpack(const py::capsule &capsule) {
  const std::string name = capsule.name() ? capsule.name() : "";
  if (name == "dltensor")  // it starts with a DLTensor
    return std::make_unique<TensorRef>(*capsule.get_pointer<DLTensor>(), capsule);
  if (name != "dltensor_versioned")
    throw Failure{"OPSWAP_E_ARGUMENT",
                  "a DLPack capsule is named '" + name + "', needs dltensor or dltensor_versioned: not used before"};
  const DLManagedTensorVersioned &from = *capsule.get_pointer<DLManagedTensorVersioned>();
  if (from.version.major != DLPACK_MAJOR_VERSION)
    throw Failure{"OPSWAP_E_ARGUMENT", "a DLPack capsule has version " + std::to_string(from.version.major) +
                                           ", needs " + std::to_string(DLPACK_MAJOR_VERSION)};
  auto tensor = std::make_unique<TensorRef>(from.dl_tensor, capsule);
  tensor->read_only = from.flags & DLPACK_FLAG_BITMASK_READ_ONLY;
  tensor->copied = from.flags & DLPACK_FLAG_BITMASK_IS_COPIED;
  return tensor;
}

opswap_exec exec_of(const std::optional<std::string> &impl, int32_t sm_budget) {
  opswap_exec exec{};
  exec.struct_size = sizeof exec;
  exec.sm_budget = sm_budget;
  exec.impl = impl ? impl->c_str() : nullptr;
  return exec;
}

// `stream` is a cudaStream_t.
void call(const std::string &op, const py::sequence &values, const std::optional<std::string> &impl, uintptr_t stream,
          const TensorRef *workspace, int32_t sm_budget, const std::string_view plan) {
  const std::vector<opswap_arg> args = to_args(values);
  opswap_exec exec = exec_of(impl, sm_budget);
  if (!plan.empty()) exec.plan = plan.data();
  exec.plan_size = plan.size();
  exec.stream = reinterpret_cast<void *>(stream);
  if (workspace) {
    if (workspace->shape.size() != 1 || workspace->strides[0] != 1 || workspace->dl.dtype.bits != 8)
      throw Failure{"OPSWAP_E_WORKSPACE", "the workspace needs to be one dense dimension of uint8"};
    exec.workspace = workspace->dl.data;
    exec.workspace_size = size_t(workspace->shape[0]);
  }
  opswap_status status;
  std::string code, message;
  {
    py::gil_scoped_release release;
    status = opswap_call(op.c_str(), args.data(), int32_t(args.size()), &exec);
    if (status) message = opswap_last_error();
  }
  if (status) throw Failure{opswap_status_name(status), message};
}

py::bytes plan_as(const std::string &op, const std::string &way, const py::sequence &values,
                  const std::optional<std::string> &impl) {
  const std::vector<opswap_arg> args = to_args(values);
  const opswap_exec exec = exec_of(impl, 0);
  size_t size = 0;
  const auto make = [&](void *bytes) {
    check(opswap_plan_as(op.c_str(), args.data(), int32_t(args.size()), &exec, way.c_str(), bytes, &size));
  };
  make(nullptr);
  std::string bytes(size, '\0');
  make(bytes.data());
  return bytes;
}

py::bytes plan(const std::string &op, const py::sequence &values, const std::optional<std::string> &impl,
               int32_t sm_budget) {
  const std::vector<opswap_arg> args = to_args(values);
  const opswap_exec exec = exec_of(impl, sm_budget);
  size_t size = 0;
  check(opswap_plan(op.c_str(), args.data(), int32_t(args.size()), &exec, nullptr, &size));
  std::string bytes(size, '\0');
  if (size) check(opswap_plan(op.c_str(), args.data(), int32_t(args.size()), &exec, bytes.data(), &size));
  return py::bytes(bytes);
}

size_t workspace_size(const std::string &op, const py::sequence &values, const std::optional<std::string> &impl,
                      int32_t sm_budget) {
  const std::vector<opswap_arg> args = to_args(values);
  const opswap_exec exec = exec_of(impl, sm_budget);
  size_t size = 0;
  check(opswap_workspace_size(op.c_str(), args.data(), int32_t(args.size()), &exec, &size));
  return size;
}

// Calls a function of the (buffer, size) pattern twice: for the size, then for the text.
template <class F>
std::string read_text(F &&read) {
  size_t size = 0;
  opswap_status status = read(nullptr, &size);
  std::string text;
  for (int attempt = 0; attempt < 8 && size && status; ++attempt) {
    text.resize(size);
    status = read(text.data(), &size);
    if (!status) break;
    if (std::string(opswap_status_name(status)) != "OPSWAP_E_BUFFER") break;
  }
  check(status);
  text.resize(size ? size - 1 : 0);
  return text;
}

std::string why(const std::string &op, const std::optional<py::sequence> &values) {
  const std::vector<opswap_arg> args = values ? to_args(*values) : std::vector<opswap_arg>{};
  return read_text([&](char *buf, size_t *size) {
    return opswap_why(op.c_str(), values ? args.data() : nullptr, int32_t(args.size()), buf, size);
  });
}

void refuse_another_abi(const opswap_version &v) {
  if (v.abi_major != OPSWAP_ABI_MAJOR)
    throw Failure{"OPSWAP_E_ABI", "libopswap.so has ABI " + std::to_string(v.abi_major) +
                                      ", this module was built for ABI " + std::to_string(OPSWAP_ABI_MAJOR)};
}

py::dict version() {
  opswap_version v{};
  v.struct_size = sizeof v;
  check(opswap_get_version(&v));
  refuse_another_abi(v);
  using namespace py::literals;
  return py::dict("abi_major"_a = v.abi_major, "abi_minor"_a = v.abi_minor, "manifest_schema"_a = v.manifest_schema,
                  "pack_version"_a = v.pack_version, "build_digest"_a = v.build_digest, "cpu_isa"_a = v.cpu_isa,
                  "device_status"_a = v.device_status);
}

// Two copies of the pack would share one library, the one that was loaded first; a library without a package around it
// was put in the other's place on purpose.
void refuse_another_copy(const std::string &package) {
  Dl_info found{};
  if (!dladdr(reinterpret_cast<void *>(&opswap_get_version), &found) || !found.dli_fname) return;
  const std::filesystem::path folder = std::filesystem::path(found.dli_fname).parent_path();
  std::error_code unreadable;
  if (std::filesystem::equivalent(folder, package, unreadable)) return;
  if (!std::filesystem::exists(folder / "__init__.py", unreadable)) return;
  throw Failure{"OPSWAP_E_INSTALL", "another copy of opswap is loaded in this process, from " + folder.string() +
                                        ", so the one in " + package + " cannot be: uninstall one of them"};
}

// The import calls this one: the CUDA driver must not be started before the host forks its workers.
void check_library(const std::string &package) {
  opswap_version v{};
  v.struct_size = offsetof(opswap_version, device_status);
  check(opswap_get_version(&v));
  refuse_another_abi(v);
  refuse_another_copy(package);
  if (std::string_view(v.pack_version) != OPSWAP_PACK_VERSION)
    throw Failure{"OPSWAP_E_INSTALL", "libopswap.so is of opswap " + std::string(v.pack_version) + ", the package in " +
                                          package + " of " OPSWAP_PACK_VERSION ": install one wheel, whole, again"};
}

// At most `most` records of one of the library's rings.
template <class Record, class Read>
std::vector<Record> read_records(uint64_t most, Read &&read) {
  std::vector<Record> records(std::max<uint64_t>(most, 1));
  records[0].struct_size = sizeof(Record);
  uint64_t count = most;
  check(read(records.data(), &count));
  records.resize(count);
  return records;
}

void shadow_start(const std::string &op, const std::string &control, const std::string &candidate, uint64_t salt,
                  double share_of_calls, double share_of_time, uint32_t first_of_bucket, uint64_t most_of_bucket,
                  uint64_t memory) {
  opswap_shadow shadow{};
  shadow.struct_size = sizeof shadow;
  shadow.first_of_bucket = first_of_bucket;
  shadow.control = control.c_str();
  shadow.candidate = candidate.c_str();
  shadow.salt = salt;
  shadow.share_of_calls = share_of_calls;
  shadow.share_of_time = share_of_time;
  shadow.most_of_bucket = most_of_bucket;
  shadow.memory = memory;
  check(opswap_shadow_start(op.c_str(), &shadow));
}

void record_start(const std::string &op, const std::string &folder, uint64_t salt, double share_of_calls,
                  uint32_t first_of_bucket, uint64_t most_of_bucket, uint64_t most_bytes, uint64_t memory) {
  opswap_recording recording{};
  recording.struct_size = sizeof recording;
  recording.first_of_bucket = first_of_bucket;
  recording.salt = salt;
  recording.share_of_calls = share_of_calls;
  recording.most_of_bucket = most_of_bucket;
  recording.folder = folder.c_str();
  recording.most_bytes = most_bytes;
  recording.memory = memory;
  check(opswap_record_start(op.c_str(), &recording));
}

py::dict shadow_record(const opswap_shadow_record &r) {
  using namespace py::literals;
  py::dict d("sequence"_a = r.sequence, "time_ns"_a = r.time_ns, "rank"_a = r.rank, "step"_a = r.step,
             "epoch"_a = r.epoch, "layer"_a = r.layer, "bucket"_a = r.bucket,
             "candidate_first"_a = bool(r.candidate_first), "control_ns"_a = r.control_ns,
             "candidate_ns"_a = r.candidate_ns, "control_status"_a = opswap_status_name(r.control_status),
             "candidate_status"_a = opswap_status_name(r.candidate_status),
             "candidate_overran"_a = bool(r.candidate_overran), "elements"_a = r.elements, "differing"_a = r.differing,
             "outside"_a = r.outside, "became_nonfinite"_a = r.became_nonfinite, "max_abs"_a = r.max_abs,
             "worst"_a = r.worst);
  if (r.floor_known) d["floor_differing"] = r.floor_differing, d["floor_worst"] = r.floor_worst;
  return d;
}

py::list shadow_read(const std::string &op, uint64_t after, uint64_t most) {
  py::list out;
  for (const opswap_shadow_record &r : read_records<opswap_shadow_record>(
           most, [&](auto *records, uint64_t *count) { return opswap_shadow_read(op.c_str(), after, records, count); }))
    out.append(shadow_record(r));
  return out;
}

py::list trace_read(uint64_t after, uint64_t most) {
  py::list out;
  using namespace py::literals;
  for (const opswap_trace_record &r : read_records<opswap_trace_record>(
           most, [&](auto *records, uint64_t *count) { return opswap_trace_read(after, records, count); })) {
    out.append(py::dict("sequence"_a = r.sequence, "time_ns"_a = r.time_ns, "rank"_a = r.rank, "step"_a = r.step,
                        "epoch"_a = r.epoch, "layer"_a = r.layer, "arm"_a = r.arm, "op"_a = r.op, "impl"_a = r.impl,
                        "bucket"_a = r.bucket, "duration_ns"_a = r.duration_ns));
  }
  return out;
}

void define_calls(py::module_ &m) {
  m.def("manifest", [] { return std::string(opswap_manifest()); });
  m.def("version", &version);
  m.def("check_library", &check_library, py::arg("package"));
  m.def("call", &call, py::arg("op"), py::arg("args"), py::arg("impl") = py::none(), py::arg("stream") = 0,
        py::arg("workspace").none(true) = nullptr, py::arg("sm_budget") = 0, py::arg("plan") = std::string_view());
  m.def("plan", &plan, py::arg("op"), py::arg("args"), py::arg("impl") = py::none(), py::arg("sm_budget") = 0);
  m.def("workspace_size", &workspace_size, py::arg("op"), py::arg("args"), py::arg("impl") = py::none(),
        py::arg("sm_budget") = 0);
  m.def("why", &why, py::arg("op"), py::arg("args") = py::none());
  m.def("tuned", [] { return read_text([](char *buf, size_t *size) { return opswap_tuned(buf, size); }); });
  m.def("plan_ways", [](const std::string &op, const py::sequence &values, const std::optional<std::string> &impl,
                        const std::optional<std::string> &device) {
    const std::vector<opswap_arg> args = to_args(values);
    const opswap_exec exec = exec_of(impl, 0);
    return read_text([&](char *buf, size_t *size) {
      return opswap_plan_ways(op.c_str(), args.data(), int32_t(args.size()), &exec, device ? device->c_str() : nullptr,
                              buf, size);
    });
  });
  m.def("plan_as", &plan_as);
  m.def("use", [](const std::string &op, const std::string &impl) { check(opswap_use(op.c_str(), impl.c_str())); });
  m.def("stats", [] { return read_text([](char *buf, size_t *size) { return opswap_stats(buf, size); }); });
  m.def("bucket_name", [](const std::string &op, uint64_t bucket) {
    return read_text([&](char *buf, size_t *size) { return opswap_bucket_name(op.c_str(), bucket, buf, size); });
  });
  m.def("read_build", [](const std::string &path) {
    return read_text([&](char *buf, size_t *size) { return opswap_read_build(path.c_str(), buf, size); });
  });
  m.def("load_build", [](const std::string &path, const std::string &name, const std::string &digest) {
    check(opswap_load_build(path.c_str(), name.c_str(), digest.c_str()));
  });
  m.def("reset_stats", [] { check(opswap_reset_stats()); });
  m.def("set_context", [](int32_t rank, int64_t step, int64_t epoch) { check(opswap_set_context(rank, step, epoch)); });
  m.def("trace_start", [](uint64_t capacity) { check(opswap_trace_start(capacity)); });
  m.def("trace_read", &trace_read, py::arg("after"), py::arg("most"));
  m.def("record_start", &record_start);
  m.def("record_stop", [](const std::string &op) { check(opswap_record_stop(op.c_str())); });
  m.def("record_status", [](const std::string &op) {
    return read_text([&](char *buf, size_t *size) { return opswap_record_status(op.c_str(), buf, size); });
  });
  m.def("shadow_start", &shadow_start);
  m.def("shadow_stop", [](const std::string &op) { check(opswap_shadow_stop(op.c_str())); });
  m.def("shadow_read", &shadow_read, py::arg("op"), py::arg("after"), py::arg("most"));
  m.def("shadow_status", [](const std::string &op) {
    return read_text([&](char *buf, size_t *size) { return opswap_shadow_status(op.c_str(), buf, size); });
  });
  m.def("set_threads", [](int32_t n) { check(opswap_set_threads(n)); });
  m.def("get_threads", [] { return opswap_get_threads(); });
}

}  // namespace

PYBIND11_MODULE(_opswap, m) {
  py::object error = py::module_::import("opswap.errors").attr("OpswapError");
  static py::handle error_type = error.release();  // lives as long as the process, like the module
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Failure &f) {
      PyErr_SetObject(error_type.ptr(), error_type(f.code, f.message).ptr());
    }
  });
  py::class_<TensorRef>(m, "Tensor")
      .def(py::init<uintptr_t, const std::string &, std::vector<int64_t>, std::vector<int64_t>, int32_t, int32_t>(),
           py::arg("data"), py::arg("dtype"), py::arg("shape"), py::arg("strides"),
           py::arg("device_type") = int32_t(kDLCPU), py::arg("device_id") = 0)
      .def_readonly("read_only", &TensorRef::read_only)
      .def_readonly("copied", &TensorRef::copied);
  py::class_<QuantizedRef>(m, "Quantized")
      .def(py::init<const py::object &, const py::object &, std::string>(), py::arg("data"), py::arg("scale"),
           py::arg("layout"));
  m.def("from_dlpack", &from_dlpack);
  define_calls(m);
  opswap_faults::define(m);
  opswap_torch::define(m, [](const std::string &code, const std::string &message) { throw Failure{code, message}; });
}
