// opswap.node: the C ABI for JavaScript. It names no op.
#include <napi.h>

#include <array>
#include <optional>
#include <string>

#include "convert.h"
#include "opswap_builds.h"
#include "shm.h"
#include "tensor.h"

namespace opswap_node {
namespace {

constexpr uint32_t kMostArgs = 32;
constexpr size_t kLongestName = 128;

// A short string argument without an allocation; the hot path of a call.
struct Name {
  char text[kLongestName];

  Name(napi_env env, napi_value value, const char *what) {
    size_t length = 0;
    if (napi_get_value_string_utf8(env, value, text, sizeof text, &length) != napi_ok)
      raise(env, "OPSWAP_E_ARGUMENT", std::string(what) + " needs a string");
    if (length + 1 >= sizeof text) raise(env, "OPSWAP_E_ARGUMENT", std::string(what) + " is longer than any name");
  }
};

// The arguments of one call; DLTensors stay owned by their NativeTensor objects, which the caller's array keeps alive.
struct Arguments {
  std::array<opswap_arg, kMostArgs> values;  // the first `count` are set
  uint32_t count = 0;
};

opswap_arg to_arg(napi_env env, napi_value value, uint32_t index) {
  opswap_arg arg{};
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  bool flag = false, lossless = true;
  switch (type) {
    case napi_object:
      arg.tag = OPSWAP_TENSOR;
      arg.v.tensor = NativeTensor::unwrap(env, value);
      if (arg.v.tensor) return arg;
      break;
    case napi_number: {
      // JavaScript has one kind of number: a whole one fits arguments of both kinds, the library takes ints as floats.
      double x = 0;
      napi_get_value_double(env, value, &x);
      const bool whole = x >= -9007199254740992.0 && x <= 9007199254740992.0 && x == double(int64_t(x));
      arg.tag = whole ? OPSWAP_INT : OPSWAP_FLOAT;
      if (whole)
        arg.v.i = int64_t(x);
      else
        arg.v.f = x;
      return arg;
    }
    case napi_bigint:
      arg.tag = OPSWAP_INT;
      napi_get_value_bigint_int64(env, value, &arg.v.i, &lossless);
      if (lossless) return arg;
      break;
    case napi_boolean:
      arg.tag = OPSWAP_BOOL;
      napi_get_value_bool(env, value, &flag);
      arg.v.i = flag;
      return arg;
    case napi_null:
    case napi_undefined:
      return arg;
    default:
      break;
  }
  raise(env, "OPSWAP_E_ARGUMENT",
        "argument " + std::to_string(index) + " needs a tensor, number, bigint of 64 bits, boolean or null");
}

Arguments to_args(napi_env env, napi_value list) {
  Arguments args;
  bool is_array = false;
  napi_is_array(env, list, &is_array);
  if (!is_array) raise(env, "OPSWAP_E_ARGUMENT", "the arguments need an array");
  napi_get_array_length(env, list, &args.count);
  if (args.count > kMostArgs)
    raise(env, "OPSWAP_E_COUNT", "no op takes more than " + std::to_string(kMostArgs) + " arguments");
  for (uint32_t i = 0; i < args.count; ++i) {
    napi_value value = nullptr;
    napi_get_element(env, list, i, &value);
    args.values[i] = to_arg(env, value, i);
  }
  return args;
}

// The `impl` and `plan` arguments of a call, at 2 and 3; either may be undefined.
struct Exec {
  std::optional<Name> impl;
  opswap_exec value{};

  explicit Exec(const Napi::CallbackInfo &info) {
    value.struct_size = sizeof value;
    if (info.Length() > 2 && !info[2].IsUndefined()) value.impl = impl.emplace(info.Env(), info[2], "call: impl").text;
    if (info.Length() < 4 || info[3].IsUndefined()) return;
    if (!info[3].IsTypedArray()) raise(info.Env(), "OPSWAP_E_ARGUMENT", "call: plan needs a Uint8Array");
    const Napi::Uint8Array plan = info[3].As<Napi::Uint8Array>();
    value.plan = plan.Data();
    value.plan_size = plan.ByteLength();
  }
  Exec(const Exec &) = delete;
};

Napi::Value call(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const Name op(env, info[0], "call: op");
  const Arguments args = to_args(env, info[1]);
  const Exec exec(info);
  check(env, opswap_call(op.text, args.values.data(), int32_t(args.count), &exec.value));
  return env.Undefined();
}

Napi::Value plan(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const Name op(env, info[0], "plan: op");
  const Arguments args = to_args(env, info[1]);
  const Exec exec(info);
  size_t size = 0;
  check(env, opswap_plan(op.text, args.values.data(), int32_t(args.count), &exec.value, nullptr, &size));
  Napi::Uint8Array bytes = Napi::Uint8Array::New(env, size);
  if (size) check(env, opswap_plan(op.text, args.values.data(), int32_t(args.count), &exec.value, bytes.Data(), &size));
  return bytes;
}

// Reads a JSON report of the (buffer, size) pattern; it may grow between the two calls.
template <class F>
Napi::Value read_text(Napi::Env env, F &&read) {
  std::string text;
  size_t size = 0;
  opswap_status status = read(nullptr, &size);
  for (int attempt = 0; attempt < 8 && status && size > text.size(); ++attempt) {
    text.resize(size);
    status = read(text.data(), &size);
  }
  check(env, status);
  return Napi::String::New(env, text.c_str());
}

Napi::Value why(const Napi::CallbackInfo &info) {
  const Name op(info.Env(), info[0], "why: op");
  const bool given = info.Length() > 1 && !info[1].IsUndefined();
  const Arguments args = given ? to_args(info.Env(), info[1]) : Arguments{};
  return read_text(info.Env(), [&](char *buf, size_t *size) {
    return opswap_why(op.text, given ? args.values.data() : nullptr, int32_t(args.count), buf, size);
  });
}

Napi::Value version(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  opswap_version v{};
  v.struct_size = sizeof v;
  check(env, opswap_get_version(&v));
  if (v.abi_major != OPSWAP_ABI_MAJOR)
    raise(env, "OPSWAP_E_ABI",
          "libopswap.so has ABI " + std::to_string(v.abi_major) + ", this addon was built for ABI " +
              std::to_string(OPSWAP_ABI_MAJOR));
  Napi::Object out = Napi::Object::New(env);
  out.Set("abi_major", v.abi_major);
  out.Set("abi_minor", v.abi_minor);
  out.Set("manifest_schema", v.manifest_schema);
  out.Set("pack_version", v.pack_version);
  out.Set("build_digest", v.build_digest);
  out.Set("cpu_isa", v.cpu_isa);
  out.Set("device_status", v.device_status);
  Napi::Object json = env.Global().Get("JSON").As<Napi::Object>();
  return json.Get("stringify").As<Napi::Function>().Call(json, {out});
}

// Name of the active implementation, out of the report that `why` gives.
std::string active(Napi::Env env, const char *op) {
  std::string json =
      read_text(env, [&](char *buf, size_t *size) { return opswap_why(op, nullptr, 0, buf, size); }).As<Napi::String>();
  const std::string key = "\"active\":\"";
  const size_t begin = json.find(key) + key.size();
  return json.substr(begin, json.find('"', begin) - begin);
}

Napi::Value use(const Napi::CallbackInfo &info) {
  const Name op(info.Env(), info[0], "use: op"), impl(info.Env(), info[1], "use: impl");
  const std::string previous = active(info.Env(), op.text);
  check(info.Env(), opswap_use(op.text, impl.text));
  return Napi::String::New(info.Env(), previous);
}

// For whoever signs a build: what a library in a file says of itself.
Napi::Value read_build(const Napi::CallbackInfo &info) {
  const std::string path = info[0].ToString();
  return read_text(info.Env(), [&](char *buf, size_t *size) { return opswap_read_build(path.c_str(), buf, size); });
}

Napi::Value set_threads(const Napi::CallbackInfo &info) {
  check(info.Env(), opswap_set_threads(info[0].ToNumber().Int32Value()));
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char *name, auto fn) { exports.Set(name, Napi::Function::New(env, fn, name)); };
  add("manifest", [](const Napi::CallbackInfo &info) { return Napi::String::New(info.Env(), opswap_manifest()); });
  add("version", version);
  add("stats", [](const Napi::CallbackInfo &info) {
    return read_text(info.Env(), [](char *buf, size_t *size) { return opswap_stats(buf, size); });
  });
  add("resetStats", [](const Napi::CallbackInfo &info) { check(info.Env(), opswap_reset_stats()); });
  add("why", why);
  add("use", use);
  add("readBuild", read_build);
  add("call", call);
  add("plan", plan);
  add("tensor", NativeTensor::create);
  add("setThreads", set_threads);
  add("getThreads", [](const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), opswap_get_threads()); });
  register_shm(env, exports);
  register_convert(env, exports);
  return exports;
}

}  // namespace
}  // namespace opswap_node

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) { return opswap_node::init(env, exports); }
NODE_API_MODULE(opswap, init_addon)
