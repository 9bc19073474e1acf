// Opens a library of the same ABI, compares what it says of itself, and registers its implementations as external ones.
#include "second_build.h"

#include <dlfcn.h>

#include <cstddef>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "json.h"
#include "json_reader.h"
#include "opswap_builds.h"
#include "pool.h"
#include "registry.h"

namespace opswap {
namespace {

struct Close {
  void operator()(void *handle) const { dlclose(handle); }
};

// The functions of another library that are called here, and what it says of itself.
struct Build {
  std::unique_ptr<void, Close> handle;
  decltype(&opswap_call) call = nullptr;
  decltype(&opswap_why) why = nullptr;
  decltype(&opswap_get_version) version = nullptr;
  decltype(&opswap_manifest) manifest = nullptr;
  decltype(&opswap_last_error) last_error = nullptr;
  decltype(&opswap_set_threads) set_threads = nullptr;
  decltype(&opswap_set_host_parallel) set_host_parallel = nullptr;
  opswap_version told{};
  std::vector<std::pair<std::string, int32_t>> ops;  // name and version
};

// One implementation of another library, as the context of an external one of ours.
struct Route {
  const Build *build;
  const char *op;    // static, of ours
  std::string impl;  // as the other library names it
  std::string name;  // as ours does
  std::string absent;
};

std::mutex mutex;  // over the two
std::deque<std::unique_ptr<const Build>> builds;
std::deque<Route> routes;  // stable addresses, kept for the life of the process

template <class F>
bool take(void *handle, const char *name, F &function) {
  function = reinterpret_cast<F>(dlsym(handle, name));
  return function != nullptr;
}

const char *missing_function(Build &build) {
  void *handle = build.handle.get();
  if (!take(handle, "opswap_get_version", build.version)) return "opswap_get_version";
  if (!take(handle, "opswap_call", build.call)) return "opswap_call";
  if (!take(handle, "opswap_why", build.why)) return "opswap_why";
  if (!take(handle, "opswap_manifest", build.manifest)) return "opswap_manifest";
  if (!take(handle, "opswap_last_error", build.last_error)) return "opswap_last_error";
  if (!take(handle, "opswap_set_threads", build.set_threads)) return "opswap_set_threads";
  if (!take(handle, "opswap_set_host_parallel", build.set_host_parallel)) return "opswap_set_host_parallel";
  return nullptr;
}

opswap_status read_manifest(const char *path, Build &build) {
  Json manifest;
  const char *text = build.manifest();
  const std::string wrong = text ? read_json(text, manifest) : "there is none";
  const Json *ops = manifest.find("ops");
  if (!wrong.empty() || !ops)
    return fail(OPSWAP_E_MANIFEST, "%s: its manifest cannot be read: %s", path,
                wrong.empty() ? "no ops" : wrong.c_str());
  for (const Json &op : ops->items) {
    const Json *name = op.find("op"), *version = op.find("version");
    if (!name || !version || version->kind != Json::Kind::number)
      return fail(OPSWAP_E_MANIFEST, "%s: its manifest has an op without name or version", path);
    build.ops.emplace_back(name->text, int32_t(version->number));
  }
  return OPSWAP_OK;
}

opswap_status open_build(const char *path, Build &build) {
  build.handle.reset(dlopen(path, RTLD_NOW | RTLD_LOCAL));
  if (!build.handle) return fail(OPSWAP_E_ABI, "%s: cannot be loaded: %s", path, dlerror());
  if (const char *name = missing_function(build)) return fail(OPSWAP_E_ABI, "%s: has no function %s", path, name);
  build.told.struct_size = offsetof(opswap_version, device_status);  // a driver is not started for this
  if (build.version(&build.told)) return fail(OPSWAP_E_ABI, "%s: its opswap_get_version failed", path);
  if (build.told.abi_major != OPSWAP_ABI_MAJOR)
    return fail(OPSWAP_E_ABI, "%s: was built for ABI %d, this library has %d", path, build.told.abi_major,
                OPSWAP_ABI_MAJOR);
  return read_manifest(path, build);
}

opswap_status compare_with_ours(const char *path, const char *digest, const Build &build) {
  const char *theirs = build.told.build_digest;
  if (std::strcmp(theirs, digest))
    return fail(OPSWAP_E_ABI, "%s: has build digest %.16s, expected %.16s", path, theirs, digest);
  if (!std::strcmp(theirs, kBuildDigest))
    return fail(OPSWAP_E_EXISTS, "%s: is the build that runs here already (%.16s)", path, theirs);
  for (const auto &other : builds)
    if (!std::strcmp(theirs, other->told.build_digest))
      return fail(OPSWAP_E_EXISTS, "%s: a build of the same digest is loaded already (%.16s)", path, theirs);
  for (const auto &[name, version] : build.ops)
    for (int32_t i = 0; i < op_count(); ++i)
      if (const OpSpec &ours = *op_at(i).spec; name == ours.name && version != ours.version)
        return fail(OPSWAP_E_ABI, "%s: has version %d of %s, this library has %d", path, version, ours.name,
                    ours.version);
  return OPSWAP_OK;
}

// What the other library tells of an op; empty where it cannot.
std::string why_of(const Build &build, const char *op) {
  std::string text(1 << 12, '\0');
  for (int attempt = 0; attempt < 4; ++attempt) {
    size_t size = text.size();
    const opswap_status status = build.why(op, nullptr, 0, text.data(), &size);
    if (!status) return text.substr(0, size ? size - 1 : 0);
    if (size <= text.size()) break;
    text.resize(size);
  }
  return "";
}

// Those that the library picks by itself, not each instruction set's: these have plain names.
void add_routes(const Build &build, const Op &op, const char *name, std::vector<Route> &found) {
  Json why;
  const std::string text = why_of(build, op.spec->name);
  if (!read_json(text, why).empty()) return;
  const Json *impls = why.find("impls");
  for (const Json &impl : impls ? impls->items : std::vector<Json>{}) {
    const Json *own = impl.find("name"), *usable = impl.find("usable"), *external = impl.find("external");
    if (!own || !usable || !external || external->truth || own->text.find('@') != std::string::npos) continue;
    const Json *reason = impl.find("reason");
    const std::string absent = usable->truth ? "" : reason ? reason->text : "no reason was given";
    found.push_back({&build, op.spec->name, own->text, own->text + "@" + name, absent});
  }
}

opswap_status refuse_full(const std::vector<Route> &found) {
  for (const Route &route : found) {
    const Op &op = *find_op(route.op);
    const int32_t there = op.count.load(std::memory_order_acquire);
    int32_t more = 0;
    for (const Route &other : found) more += !std::strcmp(other.op, route.op);
    if (there + more > kMaxImpls)
      return fail(OPSWAP_E_MEMORY, "%s: has %d implementations and would get %d more, %d are the most", route.op, there,
                  more, kMaxImpls);
    for (int32_t i = 0; i < there; ++i)
      if (route.name == op.impls[i]->name)
        return fail(OPSWAP_E_EXISTS, "%s: an implementation named '%s' is there already", route.op, route.name.c_str());
  }
  return OPSWAP_OK;
}

opswap_status run_route(void *context, const opswap_arg *args, int32_t nargs, const opswap_exec *exec) {
  const Route &route = *static_cast<const Route *>(context);
  opswap_exec own = *exec;
  own.impl = route.impl.c_str();
  own.plan = nullptr;  // plans are made by one build for itself
  own.plan_size = 0;
  const opswap_status status = route.build->call(route.op, args, nargs, &own);
  return status ? opswap_set_error(status, route.build->last_error()) : OPSWAP_OK;
}

opswap_status register_routes(std::vector<Route> found) {
  for (Route &route : found) {
    Route &kept = routes.emplace_back(std::move(route));
    opswap_external external{};
    external.struct_size = sizeof external;
    external.priority = -1;
    if (kept.absent.empty())
      external.fn = run_route, external.ctx = &kept;
    else
      external.absent_reason = kept.absent.c_str();
    if (opswap_status e = opswap_register(kept.op, kept.name.c_str(), &external)) return e;
  }
  return OPSWAP_OK;
}

std::string facts(const Build &build) {
  std::string ops;
  for (const auto &[name, version] : build.ops)
    ops += (ops.empty() ? "" : ",") + quoted(name.c_str()) + ":" + std::to_string(version);
  return "{\"abi_major\":" + std::to_string(build.told.abi_major) +
         ",\"pack_version\":" + quoted(build.told.pack_version) +
         ",\"build_digest\":" + quoted(build.told.build_digest) + ",\"ops\":{" + ops + "}}";
}

}  // namespace

void share_threads(int32_t threads) {
  std::lock_guard lock(mutex);
  for (const auto &build : builds) build->set_threads(threads);
}

void share_host_parallel(opswap_host_parallel run) {
  std::lock_guard lock(mutex);
  for (const auto &build : builds) build->set_host_parallel(run);
}

}  // namespace opswap

using namespace opswap;

extern "C" {

opswap_status opswap_read_build(const char *path, char *buf, size_t *size) {
  if (!path || !size) return fail(OPSWAP_E_NULL, "opswap_read_build: needs a path and a size");
  Build build;
  if (opswap_status e = open_build(path, build)) return e;
  return copy_out("opswap_read_build", facts(build), buf, size);
}

opswap_status opswap_load_build(const char *path, const char *name, const char *build_digest) {
  if (!path || !name || !*name || !build_digest)
    return fail(OPSWAP_E_NULL, "opswap_load_build: needs a path, a name and the build's digest");
  std::lock_guard lock(mutex);
  auto build = std::make_unique<Build>();
  if (opswap_status e = open_build(path, *build)) return e;
  if (opswap_status e = compare_with_ours(path, build_digest, *build)) return e;
  std::vector<Route> found;
  for (int32_t i = 0; i < op_count(); ++i)
    for (const auto &[op, version] : build->ops)
      if (op == op_at(i).spec->name) add_routes(*build, op_at(i), name, found);
  if (found.empty()) return fail(OPSWAP_E_NO_IMPL, "%s: has no implementation of an op of this library", path);
  if (opswap_status e = refuse_full(found)) return e;
  build->set_threads(thread_count());
  build->set_host_parallel(host_parallel());
  builds.push_back(std::move(build));
  return register_routes(std::move(found));
}
}
