// Writes the header of a recording, then each tensor's elements in order of the index.
#include "recorded_call.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "check.h"
#include "json.h"
#include "shape_bucket.h"

namespace opswap {
namespace {

const char *safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "F32";
    case DType::bfloat16:
      return "BF16";
    case DType::float16:
      return "F16";
    case DType::float64:
      return "F64";
    case DType::int64:
      return "I64";
    case DType::int32:
      return "I32";
    case DType::int8:
      return "I8";
    case DType::bool_:
      return "BOOL";
    case DType::float8_e4m3fn:
      return "F8_E4M3";
    case DType::float8_e5m2:
      return "F8_E5M2";
    default:
      return "U8";
  }
}

uint64_t element_count(const DLTensor &t) {
  uint64_t n = 1;
  for (int32_t d = 0; d < t.ndim; ++d) n *= uint64_t(t.shape[d]);
  return n;
}
uint64_t contiguous_bytes(const DLTensor &t) { return element_count(t) * (t.dtype.bits / 8); }

std::string numbers(const int64_t *values, int32_t n) {
  std::string text = "[";
  for (int32_t i = 0; i < n; ++i) text += std::string(i ? "," : "") + std::to_string(values[i]);
  return text + "]";
}

// Their first ones: readers bound the header, and a prefill touches many.
std::string entries_json(const std::vector<int64_t> &entries) {
  constexpr size_t kMost = 4096;
  return numbers(entries.data(), int32_t(std::min(entries.size(), kMost)));
}

// Appends the elements of `t` from dimension `dim` on.
void gather(const DLTensor &t, const char *from, int32_t dim, std::string &out) {
  const size_t size = t.dtype.bits / 8;
  if (dim == t.ndim) {
    out.append(from, size);
    return;
  }
  const size_t step = size_t(t.strides[dim]) * size;
  if (dim + 1 == t.ndim && t.strides[dim] == 1) {
    out.append(from, size_t(t.shape[dim]) * size);
    return;
  }
  for (int64_t i = 0; i < t.shape[dim]; ++i) gather(t, from + size_t(i) * step, dim + 1, out);
}

std::string float_text(double x) {
  char text[40] = {};  // to_chars knows no locale, whose comma would break the JSON
  std::to_chars(text, text + sizeof text - 1, x);
  // JSON has no infinity and no NaN: as strings they are still told apart.
  return std::strpbrk(text, "in") ? quoted(text) : text;
}

// One argument as the metadata has it.
std::string argument_json(const OpSpec &op, const CutCall &call, int32_t i) {
  const opswap_arg *args = call.args(), &a = args[i];
  const std::string head = "{\"name\":" + quoted(op.args[i].name);
  switch (a.tag) {
    case OPSWAP_TENSOR: {
      const DLTensor &t = *a.v.tensor;
      return head + ",\"dtype\":" + quoted(dtype_name(dtype_of(t.dtype))) + ",\"shape\":" + numbers(t.shape, t.ndim) +
             ",\"strides\":" + numbers(t.strides, t.ndim) + ",\"stored\":" + (is_read(op, args, i) ? "true" : "false") +
             (call.entries(i) ? ",\"entries\":" + entries_json(*call.entries(i)) : "") + "}";
    }
    case OPSWAP_INT:
      return head + ",\"value\":" + std::to_string(a.v.i) + "}";
    case OPSWAP_BOOL:
      return head + ",\"value\":" + (a.v.i ? "true" : "false") + "}";
    case OPSWAP_FLOAT:
      return head + ",\"value\":" + float_text(a.v.f) + "}";
    case OPSWAP_STRING:
      return head + ",\"value\":" + quoted(a.v.s) + "}";
    default:
      return head + ",\"value\":null}";
  }
}

std::string arguments_json(const OpSpec &op, const CutCall &call) {
  std::string json = "[";
  for (int32_t i = 0; i < op.nargs; ++i) json += std::string(i ? "," : "") + argument_json(op, call, i);
  return json + "]";
}

// Values of `__metadata__` are strings.
std::string metadata(const Op &op, const Bound &bound, const CutCall &call, const Place &place, int64_t time_ns) {
  const auto entry = [](const char *key, const std::string &value) {
    return std::string(",").append(quoted(key)).append(":").append(quoted(value.c_str()));
  };
  return "{\"opswap_recording\":\"1\"" + entry("op", op.spec->name) +
         entry("op_version", std::to_string(op.spec->version)) + entry("build_digest", kBuildDigest) +
         entry("bucket", bucket_name(*op.spec, op.spec->bucket(bound.args))) +
         entry("rank", std::to_string(place.rank)) + entry("step", std::to_string(place.step)) +
         entry("epoch", std::to_string(place.epoch)) + entry("layer", std::to_string(place.layer)) +
         entry("time_ns", std::to_string(time_ns)) + entry("args", arguments_json(*op.spec, call)) + "}";
}

std::string header(const Op &op, const Bound &bound, const CutCall &call, const Place &place, int64_t time_ns) {
  std::string json = "{\"__metadata__\":" + metadata(op, bound, call, place, time_ns);
  const opswap_arg *args = call.args();
  uint64_t at = 0;
  for (int32_t i = 0; i < op.spec->nargs; ++i) {
    if (!is_read(*op.spec, args, i)) continue;
    const DLTensor &t = *args[i].v.tensor;
    const uint64_t end = at + contiguous_bytes(t);
    json += std::string(",").append(quoted(op.spec->args[i].name)) +
            ":{\"dtype\":" + quoted(safetensors_name(dtype_of(t.dtype))) + ",\"shape\":" + numbers(t.shape, t.ndim) +
            ",\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(end) + "]}";
    at = end;
  }
  json += "}";
  return json.append((8 - json.size() % 8) % 8, ' ');
}

}  // namespace

bool is_read(const OpSpec &op, const opswap_arg *args, int32_t i) {
  return args[i].tag == OPSWAP_TENSOR && (!op.args[i].written || op.args[i].kept);
}

uint64_t recorded_bytes(const OpSpec &op, const CutCall &call) {
  const opswap_arg *args = call.args();
  uint64_t sum = 0;
  for (int32_t i = 0; i < op.nargs; ++i)
    if (is_read(op, args, i)) sum += contiguous_bytes(*args[i].v.tensor);
  return sum;
}

std::string recorded_call(const Op &op, const Bound &bound, const CutCall &call, const Place &place, int64_t time_ns) {
  const std::string json = header(op, bound, call, place, time_ns);
  const uint64_t length = json.size();
  std::string file(reinterpret_cast<const char *>(&length), sizeof length);
  file.reserve(sizeof length + length + recorded_bytes(*op.spec, call));
  file += json;
  for (int32_t i = 0; i < op.spec->nargs; ++i) {
    if (!is_read(*op.spec, call.args(), i)) continue;
    const DLTensor &t = *call.args()[i].v.tensor;
    if (!element_count(t)) continue;
    if (!call.entries(i)) gather(t, static_cast<const char *>(t.data) + t.byte_offset, 0, file);
    for (size_t e = 0; call.entries(i) && e < call.entries(i)->size(); ++e) gather(t, call.entry(i, e), 1, file);
  }
  return file;
}

}  // namespace opswap
