// convertTensor for JavaScript: reads the job out of an object, runs it on a worker thread, and makes an object of the
// result; also file locks and reserved disk space.
#include "convert.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "convert/job.h"
#include "convert_arguments.h"
#include "convert_planes.h"
#include "tensor.h"

namespace opswap_node {
namespace {

using namespace opswap::convert;

constexpr int32_t kMostThreads = 64;

constexpr Named<Mode> kModes[] = {{"write", Mode::write},
                                  {"verify", Mode::verify},
                                  {"digest", Mode::digest},
                                  {"measure", Mode::measure},
                                  {"weigh", Mode::weigh}};
#define X(name) {#name, Code::name},
constexpr Named<Code> kCodes[] = {OPSWAP_CONVERT_CODES(X)};
#undef X
constexpr Named<Element> kScales[] = {{"F32", Element::f32}, {"BF16", Element::bf16}};
constexpr Named<Nonfinite> kPolicies[] = {
    {"refuse", Nonfinite::refuse}, {"keep", Nonfinite::keep}, {"zero", Nonfinite::zero}};
// Others are bytes to the converter.
constexpr Named<Element> kElements[] = {{"BF16", Element::bf16},
                                        {"F16", Element::f16},
                                        {"F32", Element::f32},
                                        {"F64", Element::f64},
                                        {"F8_E5M2", Element::e5m2},
                                        {"F8_E4M3", Element::e4m3},
                                        {"bytes", Element::other},
                                        {"Q4_0", Element::q4_0},
                                        {"Q4_1", Element::q4_1},
                                        {"Q5_0", Element::q5_0},
                                        {"Q5_1", Element::q5_1},
                                        {"Q8_0", Element::q8_0},
                                        {"Q4_K", Element::q4_k},
                                        {"Q5_K", Element::q5_k},
                                        {"Q6_K", Element::q6_k},
                                        {"I8", Element::i8},
                                        {"F8_E4M3FNUZ", Element::e4m3fnuz},
                                        {"F8_E5M2FNUZ", Element::e5m2fnuz}};

Scheme read_scheme(Napi::Object job) {
  Scheme scheme;
  if (!job.Get("scheme").IsObject()) raise(job.Env(), "OPSWAP_E_ARGUMENT", "convertTensor: scheme needs an object");
  const Napi::Object from = job.Get("scheme").As<Napi::Object>();
  scheme.code = choice(from, "code", kCodes);
  if (!scheme.quantizes()) return scheme;
  scheme.block_rows = whole(from, "blockRows", 0, kMost);
  scheme.block_columns = whole(from, "blockColumns", 0, kMost);
  scheme.scale = choice(from, "scale", kScales);
  if (from.Has("scaleAlign")) scheme.scale_align = whole(from, "scaleAlign", 1, 128);
  scheme.clipped = from.Get("clipped").ToBoolean();
  scheme.weighted = from.Get("weighted").ToBoolean();
  return scheme;
}

// Empty where it is not given.
std::vector<float> floats(Napi::Object from, const char *key) {
  if (!from.Has(key)) return {};
  const Napi::Value value = from.Get(key);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
    raise(from.Env(), "OPSWAP_E_ARGUMENT", std::string("convertTensor: ") + key + " need a Float32Array");
  const auto array = value.As<Napi::Float32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

void read_factors(Napi::Object from, Job &job) {
  const auto read = [&](const char *key, int64_t count) {
    std::vector<float> values = floats(from, key);
    if (!values.empty() && int64_t(values.size()) != count)
      raise(from.Env(), "OPSWAP_E_ARGUMENT",
            std::string("convertTensor: ") + key + " need " + std::to_string(count) + " numbers");
    return values;
  };
  job.scaled = from.Get("scaled").ToBoolean();
  job.column_factors = read("columnFactors", job.columns);
  job.row_factors = read("rowFactors", job.rows);
  job.importance = read("importance", job.columns);
  if (from.Has("after")) job.after = from.Get("after").ToNumber().FloatValue();
  const bool any = !job.column_factors.empty() || !job.row_factors.empty() || job.after != 0;
  if (any && !job.scaled) raise(from.Env(), "OPSWAP_E_ARGUMENT", "convertTensor: factors need scaled");
}

// How the source's elements are stored, and that they can be read that way.
void read_stored(Napi::Object from, Job &job) {
  const auto refuse = [&](const char *code, const std::string &why) {
    raise(from.Env(), code, "convertTensor: " + why);
  };
  read_planes(from, job);
  const Group group = job.codes ? Group{1, 1} : group_of(job.element);
  const bool plain = !job.scheme.quantizes() && job.scheme.code != Code::bf16 && job.mode != Mode::measure;
  if (plain ? group.elements > 1 || job.codes : job.element == Element::other)
    refuse("OPSWAP_E_DTYPE", "element is not of this scheme: bytes are copied, groups are decoded");
  if (job.columns % group.elements != 0)
    refuse("OPSWAP_E_ARGUMENT", "columns are no multiple of " + std::to_string(group.elements));
  if (from.Has("add")) job.add = from.Get("add").ToNumber().FloatValue();
  if (from.Has("heads")) job.heads = whole(from, "heads", 1, kMost);
  if (job.heads > 0 && job.rows % (2 * job.heads) != 0) refuse("OPSWAP_E_ARGUMENT", "rows are no multiple of 2 heads");
  if (job.heads > 0 && job.codes) refuse("OPSWAP_E_ARGUMENT", "heads do not go with codes");
}

// What the passes take for granted.
const char *obstacle(const Job &job) {
  const Scheme &scheme = job.scheme;
  if (scheme.code == Code::widen && job.element != Element::bf16) return "widen needs BF16";
  if (scheme.code == Code::narrow && job.element != Element::f32) return "narrow needs F32";
  if (job.scaled && !scheme.quantizes() && scheme.code != Code::bf16) return "factors need codes or bf16";
  if (scheme.weighted && job.importance.empty() && job.mode != Mode::digest) return "weighted needs importance";
  if (job.mode == Mode::weigh && !scheme.is_int4()) return "weigh needs int4";
  if (scheme.quantizes() && job.slices > 1) return "slices go with bf16";
  if (scheme.code == Code::flip && job.element != Element::other) return "flip needs bytes";
  if (job.target_columns && scheme.code != Code::copy) return "targetColumns go with copy";
  if (!scheme.quantizes()) return nullptr;
  if (scheme.is_int4()) {
    if (scheme.block_rows != 1 || scheme.block_columns != 128 || job.columns % 128 != 0)
      return "int4 needs groups of 128 columns that leave none over";
    return job.policy == Nonfinite::keep ? "int4 has no code for NaN" : nullptr;
  }
  if (scheme.scale != Element::f32) return "e4m3 needs scales of F32";
  if (scheme.block_rows == 0) return scheme.block_columns == 0 ? nullptr : "0 blockRows go with 0 blockColumns";
  if (scheme.block_columns == 0)
    return job.columns <= kLongestRow ? nullptr : "a row with one scale is too long for a tile";
  const bool tiled = 128 % scheme.block_rows == 0 && 128 % scheme.block_columns == 0;
  return tiled ? nullptr : "blocks need sides that divide 128";
}

Job read_job(Napi::Object from) {
  constexpr int64_t file = 1 << 30;
  Job job;
  job.mode = choice(from, "mode", kModes);
  job.scheme = read_scheme(from);
  job.policy = choice(from, "nonfinite", kPolicies);
  job.element = choice(from, "element", kElements);
  job.source = int(whole(from, "source", -1, file));
  job.target = int(whole(from, "target", -1, file));
  job.source_offset = whole(from, "sourceOffset", 0, kMost);
  job.data_offset = whole(from, "dataOffset", 0, kMost);
  job.scale_offset = whole(from, "scaleOffset", 0, kMost);
  job.rows = whole(from, "rows", 0, kMost);
  job.columns = whole(from, "columns", 0, kMost);
  if (from.Has("sourceColumns")) job.source_columns = whole(from, "sourceColumns", job.columns, kMost);
  if (from.Has("targetColumns")) job.target_columns = whole(from, "targetColumns", job.columns, kLongestRow);
  job.threads = int32_t(whole(from, "threads", 1, kMostThreads));
  if (from.Get("amax").IsNumber()) job.amax = from.Get("amax").As<Napi::Number>().FloatValue();
  const bool named = from.Has("isa") && from.Get("isa").IsString();
  job.pass = named ? pass_named(from.Get("isa").ToString().Utf8Value().c_str()) : &best_pass();
  if (job.pass == nullptr)
    raise(from.Env(), "OPSWAP_E_ARGUMENT", "convertTensor: isa is not built, or this CPU has it not");
  read_stored(from, job);
  read_factors(from, job);
  if (const char *why = obstacle(job)) raise(from.Env(), "OPSWAP_E_DTYPE", std::string("convertTensor: ") + why);
  return job;
}

Napi::Value hex(Napi::Env env, uint64_t digest) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(digest));
  return Napi::String::New(env, text);
}

Napi::Object stats_object(Napi::Env env, const Stats &stats) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("elements", double(stats.elements));
  out.Set("signal", stats.signal);
  out.Set("noise", stats.noise);
  out.Set("weighted", stats.weighted);
  out.Set("largestError", stats.largest_error);
  out.Set("smallestScale", stats.smallest_scale);
  out.Set("largestScale", stats.largest_scale);
  out.Set("zeros", double(stats.zeros));
  out.Set("flushed", double(stats.flushed));
  out.Set("atLimit", double(stats.at_limit));
  out.Set("zeroBlocks", double(stats.zero_blocks));
  return out;
}

Napi::Object result_object(Napi::Env env, const Result &result) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("sourceDigest", hex(env, result.source_digest));
  out.Set("dataDigest", hex(env, result.data_digest));
  out.Set("scaleDigest", hex(env, result.scale_digest));
  out.Set("stats", stats_object(env, result.stats));
  Napi::Object found = Napi::Object::New(env);
  found.Set("count", double(result.found.count));
  found.Set("row", double(result.found.row));
  found.Set("column", double(result.found.column));
  out.Set("nonfinite", found);
  out.Set("differing", double(result.differing));
  out.Set("firstDiffering", double(result.first_differing));
  out.Set("differingScales", double(result.differing_scales));
  out.Set("inexact", double(result.inexact));
  out.Set("firstInexact", double(result.first_inexact));
  out.Set("amax", double(result.amax));
  return out;
}

class Worker : public Napi::AsyncWorker {
 public:
  Worker(Napi::Env env, const Job &job)
      : Napi::AsyncWorker(env, "opswap.convertTensor"), promise_(Napi::Promise::Deferred::New(env)), job_(job) {}
  Napi::Promise promise() { return promise_.Promise(); }

 protected:
  void Execute() override { result_ = run(job_); }
  void OnOK() override {
    const Failure &failure = result_.failure;
    if (failure.call == nullptr) return promise_.Resolve(result_object(Env(), result_));
    const std::string why = failure.error ? std::strerror(failure.error) : "the file ends early";
    Napi::Error error = Napi::Error::New(Env(), std::string(failure.call) + ": " + why);
    error.Set("call", Napi::String::New(Env(), failure.call));
    error.Set("errno", Napi::Number::New(Env(), failure.error));
    error.Set("onTarget", Napi::Boolean::New(Env(), failure.on_target));
    error.Set("offset", Napi::Number::New(Env(), double(failure.offset)));
    error.Set("path", Napi::String::New(Env(), failure.path));
    promise_.Reject(error.Value());
  }
  void OnError(const Napi::Error &error) override { promise_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred promise_;
  const Job job_;
  Result result_;
};

Napi::Value convert_tensor(const Napi::CallbackInfo &info) {
  if (!info[0].IsObject()) raise(info.Env(), "OPSWAP_E_ARGUMENT", "convertTensor: needs a job");
  auto *worker = new Worker(info.Env(), read_job(info[0].As<Napi::Object>()));  // deletes itself when done
  const Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

// The second argument: whether others may hold it as well. 0, or the error's number.
Napi::Value lock_file(const Napi::CallbackInfo &info) {
  const int kind = info[1].ToBoolean() ? LOCK_SH : LOCK_EX;
  const int done = ::flock(info[0].ToNumber().Int32Value(), kind | LOCK_NB);
  return Napi::Number::New(info.Env(), done == 0 ? 0 : errno);
}

// Makes the file this long with its space on disk, so that a full disk is known before the work. 0, or the error's
// number.
Napi::Value reserve(const Napi::CallbackInfo &info) {
  const int file = info[0].ToNumber().Int32Value();
  const off_t bytes = off_t(info[1].ToNumber().DoubleValue());
  int error = bytes == 0 || ::fallocate(file, 0, 0, bytes) == 0 ? 0 : errno;
  if (error == EOPNOTSUPP || error == ENOSYS) error = ::ftruncate(file, bytes) == 0 ? 0 : errno;
  return Napi::Number::New(info.Env(), error);
}

}  // namespace

void register_convert(Napi::Env env, Napi::Object exports) {
  exports.Set("convertTensor", Napi::Function::New(env, convert_tensor, "convertTensor"));
  exports.Set("lockFile", Napi::Function::New(env, lock_file, "lockFile"));
  exports.Set("reserve", Napi::Function::New(env, reserve, "reserve"));
}

}  // namespace opswap_node
