// NativeTensor: makes a checked DLTensor over a JavaScript buffer, and finds it again in an argument.
#include "tensor.h"

#include <cmath>
#include <memory>
#include <string>

namespace opswap_node {
namespace {

constexpr napi_type_tag kTag = {0x6f7073776170'01ull, 0x74656e736f72'01ull};
constexpr double kMostElements = 9007199254740992.0;  // 2^53: beyond it a JavaScript number is not an integer

struct DTypeRow {
  const char *name;
  uint8_t code, bits;
};
constexpr DTypeRow kDTypes[] = {
#define X(name, code, bits, bytes) {#name, code, bits},
#include "../../core/dtypes.def"
#undef X
};

DLDataType dtype_named(Napi::Env env, const std::string &name) {
  for (const DTypeRow &d : kDTypes)
    if (name == d.name || name + "_" == d.name) return {d.code, d.bits, 1};
  raise(env, "OPSWAP_E_DTYPE", "tensor: dtype '" + name + "' is none of the library's");
}

int64_t integer(Napi::Env env, Napi::Value value, const char *what) {
  const double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(x >= 0 && x < kMostElements && x == std::floor(x)))
    raise(env, "OPSWAP_E_ARGUMENT", std::string("tensor: ") + what + " needs integers from 0");
  return int64_t(x);
}

size_t read_integers(Napi::Env env, Napi::Value value, const char *what, std::array<int64_t, kMostDims> &out) {
  if (!value.IsArray()) raise(env, "OPSWAP_E_ARGUMENT", std::string("tensor: ") + what + " needs an array of integers");
  const Napi::Array list = value.As<Napi::Array>();
  if (list.Length() > kMostDims)
    raise(env, "OPSWAP_E_RANK",
          std::string("tensor: ") + what + " has " + std::to_string(list.Length()) + " entries, needs at most " +
              std::to_string(kMostDims));
  for (uint32_t i = 0; i < list.Length(); ++i) out[i] = integer(env, list.Get(i), what);
  return list.Length();
}

}  // namespace

void raise(Napi::Env env, const char *code, const std::string &message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  throw error;
}

void check(Napi::Env env, opswap_status status) {
  if (status) raise(env, opswap_status_name(status), opswap_last_error());
}

void NativeTensor::read_memory(Napi::Env env, Napi::Value data) {
  if (data.IsArrayBuffer()) {
    Napi::ArrayBuffer buffer = data.As<Napi::ArrayBuffer>();
    dl_.data = buffer.Data();
    bytes_ = buffer.ByteLength();
  } else if (data.IsTypedArray()) {
    Napi::TypedArray view = data.As<Napi::TypedArray>();
    dl_.data = static_cast<char *>(view.ArrayBuffer().Data()) + view.ByteOffset();
    bytes_ = view.ByteLength();
  } else {
    raise(env, "OPSWAP_E_ARGUMENT", "tensor: data needs an ArrayBuffer or a TypedArray");
  }
  buffer_ = Napi::Persistent(data.As<Napi::Object>());
}

void NativeTensor::read_layout(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const size_t ndim = read_integers(env, info[2], "shape", shape_);
  if (info.Length() > 3 && !info[3].IsUndefined()) {
    if (read_integers(env, info[3], "strides", strides_) != ndim)
      raise(env, "OPSWAP_E_RANK", "tensor: shape and strides differ in length");
  } else {
    int64_t stride = 1;
    for (size_t d = ndim; d-- > 0;) {
      strides_[d] = stride;
      if (__builtin_mul_overflow(stride, shape_[d] ? shape_[d] : 1, &stride))
        raise(env, "OPSWAP_E_SHAPE", "tensor: shape has more elements than memory can hold");
    }
  }
  dl_.ndim = int32_t(ndim);
  dl_.shape = shape_.data();
  dl_.strides = strides_.data();
}

void NativeTensor::check_bounds(Napi::Env env, double byte_offset) const {
  const double element = dl_.dtype.bits / 8;
  double last = 0;
  for (int32_t d = 0; d < dl_.ndim; ++d) {
    if (shape_[size_t(d)] == 0) return;
    last += double(shape_[size_t(d)] - 1) * double(strides_[size_t(d)]);
  }
  const double needs = byte_offset + (last + 1) * element;
  if (needs > double(bytes_))
    raise(env, "OPSWAP_E_SHAPE",
          "tensor: needs " + std::to_string(uint64_t(needs)) + " bytes, the buffer has " + std::to_string(bytes_));
}

NativeTensor::NativeTensor(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  if (info.Length() < 3 || !info[1].IsString())
    raise(env, "OPSWAP_E_ARGUMENT", "tensor(data, dtype, shape, strides?, byteOffset?): dtype needs a string");
  read_memory(env, info[0]);
  dl_.device = {kDLCPU, 0};
  dl_.dtype = dtype_named(env, info[1].As<Napi::String>());
  read_layout(info);
  const int64_t offset = info.Length() > 4 && !info[4].IsUndefined() ? integer(env, info[4], "byteOffset") : 0;
  check_bounds(env, double(offset));
  dl_.byte_offset = uint64_t(offset);
}

Napi::Value NativeTensor::create(const Napi::CallbackInfo &info) {
  auto tensor = std::make_unique<NativeTensor>(info);
  Napi::Object object = Napi::Object::New(info.Env());
  const auto drop = [](napi_env, void *data, void *) { delete static_cast<NativeTensor *>(data); };
  if (napi_type_tag_object(info.Env(), object, &kTag) != napi_ok ||
      napi_wrap(info.Env(), object, tensor.get(), drop, nullptr, nullptr) != napi_ok)
    raise(info.Env(), "OPSWAP_E_INTERNAL", "tensor: the descriptor could not be attached to its object");
  tensor.release();
  return object;
}

const DLTensor *NativeTensor::unwrap(napi_env env, napi_value value) {
  bool ours = false;
  void *data = nullptr;
  if (napi_check_object_type_tag(env, value, &kTag, &ours) != napi_ok || !ours) return nullptr;
  return napi_unwrap(env, value, &data) == napi_ok ? &static_cast<NativeTensor *>(data)->dl_ : nullptr;
}

}  // namespace opswap_node
