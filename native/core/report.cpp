// JSON for people and tools: versions, why, stats.
#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "bound.h"
#include "device.h"
#include "device_times.h"
#include "json.h"
#include "local_evidence.h"
#include "plan_hooks.h"
#include "registry.h"
#include "shape_bucket.h"
#include "trace.h"
#include "tuned.h"

using namespace opswap;

namespace {

constexpr size_t kMostRemarks = 4;  // on files of evidence in one reason; a reason that travels is bounded

// "" or the reason why `impl` cannot run; with args, a dry run of the checks that a call makes.
std::string refusal(const Op &op, const Impl &impl, const opswap_arg *args, int32_t nargs) {
  if (impl.external) return impl.external_fn ? "" : impl.absent_reason;
  const bool cuda = impl.device_type == kDLCUDA;
  if (!args) {
    const char *reason = cuda ? device_refusal(0) : nullptr;
    return reason ? reason : "";
  }
  Bound bound;
  if (bind(op, args, nargs, bound)) return opswap_last_error();
  const ArgsBase &base = bound.base();
  if (base.device_type != impl.device_type) return "the tensors are on another device";
  const char *reason = cuda ? device_refusal(base.device_id) : nullptr;
  if (!reason && impl.record->can) reason = impl.record->can(bound.args);
  return reason ? reason : "";
}

// Which half of the evidence is missing here, or "".
std::string evidence_remark(const Evidence &evidence) {
  if (evidence.experimental)
    return "experimental: " + std::string(evidence.experimental) + ", so it runs only when named";
  if (evidence.timed && device_is_one_of(evidence.timed)) return "";
  return "its speed was not measured on this device" +
         (evidence.timed ? ", only on " + std::string(evidence.timed) : std::string()) +
         ", so a framework's own kernel is preferred";
}

std::string models_json(const char *models) {
  std::string json = "[";
  for (const std::string_view model : words_of(models))
    json += (json.size() > 1 ? ",\"" : "\"") + std::string(model) + "\"";
  return json + "]";
}

// What a row's same bits at every batch size cost here, "" where the implementation cannot give them: op.json's words,
// and with arguments that ask for it the model's, where there is one.
std::string invariant_cost(const Op &op, const Impl &impl, const opswap_arg *args, int32_t nargs) {
  std::string cost;
  for (int32_t i = 0; i < op.spec->ninvariants; ++i)
    if (!std::strcmp(op.spec->invariants[i].impl, impl.record ? impl.record->name : impl.name))
      cost = op.spec->invariants[i].cost;
  const PlanHooks *hooks = plan_hooks_of(op.spec->name, impl.name);
  Bound bound;
  if (cost.empty() || !args || !hooks || device_refusal(0) || bind(op, args, nargs, bound)) return cost;
  PlanWays found;
  const opswap_exec exec{sizeof(opswap_exec)};
  if (hooks->list(bound.args, exec, nullptr, found) || !found.free_cycles || found.ways.empty()) return cost;
  const auto fewest = [](auto &a, auto &b) { return a.cycles < b.cycles; };
  const int64_t least = std::min_element(found.ways.begin(), found.ways.end(), fewest)->cycles;
  char text[64];
  std::snprintf(text, sizeof text, "; here %.2f times the cycles, modelled", double(least) / double(found.free_cycles));
  return cost + text;
}

std::string impl_json(const Op &op, const Impl &impl, const opswap_arg *args, int32_t nargs) {
  std::string reason = refusal(op, impl, args, nargs);
  std::string json = "{\"name\":" + quoted(impl.name) + ",\"priority\":" + std::to_string(impl.priority) +
                     ",\"external\":" + (impl.external ? "true" : "false") +
                     ",\"usable\":" + (reason.empty() ? "true" : "false") +
                     ",\"toggle_class\":" + quoted(impl.toggle_class);
  if (impl.isa) json += ",\"isa\":" + quoted(impl.isa);
  if (!impl.external && impl.device_type == kDLCUDA) {
    const Evidence &evidence = impl.record->evidence;
    json += ",\"correct_on\":" + models_json(evidence.correct) + ",\"timed_on\":" + models_json(evidence.timed);
    const std::string remark = evidence_remark(evidence);
    if (!reason.empty() && !remark.empty()) reason += "; ";
    reason += remark;
    json += ",\"sources\":" + quoted(kernel_sources_of(op.spec->name)) + ",\"local\":[";
    const std::vector<std::string> local = local_remarks(op.spec->name);
    for (size_t i = 0; i < local.size(); ++i) {
      json += (i ? "," : "") + quoted(local[i].c_str());
      if (i < kMostRemarks) reason += (reason.empty() ? "" : "; ") + local[i];
    }
    if (local.size() > kMostRemarks) reason += "; more: python -m opswap.evidence show";
    json += "]";
  }
  if (plan_hooks_of(op.spec->name, impl.name))
    for (const std::string &remark : tuned_remarks(op.spec->name, impl.name))
      reason += (reason.empty() ? "" : "; ") + remark;
  if (const std::string cost = invariant_cost(op, impl, args, nargs); !cost.empty())
    json += ",\"batch_invariant\":" + quoted(cost.c_str());
  if (!reason.empty()) json += ",\"reason\":" + quoted(reason.c_str());
  return json + "}";
}

std::string times_json(const TimesSummary &times) {
  char text[160];
  std::snprintf(text, sizeof text, "\"timed\":%" PRIu64 ",\"mean_ns\":%.1f,\"p50_ns\":%.1f,\"p99_ns\":%.1f",
                times.count, times.mean_ns, times.p50_ns, times.p99_ns);
  return text;
}

std::string buckets_json(const Op &op, const BucketTable &table, uint64_t now) {
  std::string json = "[";
  table.each([&](const BucketTimes &of) {
    const TimesSummary times = of.times.summary(now);
    if (!times.count) return;
    json += (json.size() > 1 ? ",{" : "{") + ("\"bucket\":" + quoted(bucket_name(*op.spec, of.key).c_str())) + "," +
            times_json(times) + "}";
  });
  return json + "]";
}

std::string stats_json(const Op &op, const Impl &impl, uint64_t now) {
  const ImplStats &stats = impl.stats;
  return "{\"name\":" + quoted(impl.name) + ",\"toggle_class\":" + quoted(impl.toggle_class) +
         ",\"calls\":" + std::to_string(stats.calls.load()) + ",\"errors\":" + std::to_string(stats.errors.load()) +
         "," + times_json(stats.buckets.all(now)) + ",\"buckets\":" + buckets_json(op, stats.buckets, now) +
         ",\"beyond_buckets\":" + std::to_string(stats.buckets.beyond()) + "}";
}

template <class F>
std::string each_impl(const Op &op, F &&json) {
  std::string out = "[";
  for (int32_t i = 0; i < op.count.load(std::memory_order_acquire); ++i) {
    if (i) out += ',';
    out += json(*op.impls[i]);
  }
  return out + "]";
}

const char *active_name(const Op &op) {
  const Impl *impl = op.active.load(std::memory_order_acquire);
  return impl ? impl->name : "";
}

// What takes device tensors of a call that names no implementation, where that is another one than the active.
std::string device_choice(const Op &op) {
  const Impl *impl =
      op.asked.load(std::memory_order_acquire) ? nullptr : op.device_choice.load(std::memory_order_acquire);
  return impl ? ",\"device_choice\":" + quoted(impl->name) : std::string();
}

}  // namespace

extern "C" {

const char *opswap_manifest(void) { return kManifest; }

opswap_status opswap_get_version(opswap_version *out) {
  constexpr size_t kWithoutDevice = offsetof(opswap_version, device_status);
  if (!out || out->struct_size < kWithoutDevice)
    return fail(OPSWAP_E_ABI, "opswap_get_version: struct_size is %u, this build needs %zu", out ? out->struct_size : 0,
                sizeof(opswap_version));
  const uint32_t size = std::min(out->struct_size, uint32_t(sizeof(opswap_version)));
  const opswap_version all = {
      size,         OPSWAP_ABI_MAJOR, OPSWAP_ABI_MINOR,    kManifestSchema,
      kPackVersion, kBuildDigest,     isa_name(cpu_isa()), size > kWithoutDevice ? device_status() : nullptr};
  std::memcpy(out, &all, size);
  return OPSWAP_OK;
}

opswap_status opswap_why(const char *name, const opswap_arg *args, int32_t nargs, char *buf, size_t *size) {
  Op *op = find_op(name);
  if (!op) return OPSWAP_E_NO_OP;
  const std::string json =
      "{\"op\":" + quoted(name) + ",\"active\":" + quoted(active_name(*op)) + device_choice(*op) +
      ",\"impls\":" + each_impl(*op, [&](const Impl &i) { return impl_json(*op, i, args, nargs); }) + "}";
  return copy_out("opswap_why", json, buf, size);
}

opswap_status opswap_stats(char *buf, size_t *size) {
  read_device_times();
  const Place place = place_of_process();
  std::string json = "{\"context\":{\"rank\":" + std::to_string(place.rank) +
                     ",\"step\":" + std::to_string(place.step) + ",\"epoch\":" + std::to_string(place.epoch) +
                     "},\"window_s\":" + std::to_string(window_seconds()) + ",\"ops\":[";
  const uint64_t now = ticks_now();
  for (int32_t i = 0; i < op_count(); ++i) {
    Op &op = op_at(i);
    json += std::string(i ? "," : "") + "{\"op\":" + quoted(op.spec->name) + ",\"active\":" + quoted(active_name(op)) +
            ",\"impls\":" + each_impl(op, [&](const Impl &impl) { return stats_json(op, impl, now); }) + "}";
  }
  return copy_out("opswap_stats", json + "]}", buf, size);
}

opswap_status opswap_bucket_name(const char *name, uint64_t bucket, char *buf, size_t *size) {
  const Op *op = find_op(name);
  if (!op) return OPSWAP_E_NO_OP;
  return copy_out("opswap_bucket_name", bucket_name(*op->spec, bucket), buf, size);
}

opswap_status opswap_reset_stats(void) {
  for (int32_t i = 0; i < op_count(); ++i)
    for (int32_t k = 0; k < op_at(i).count.load(std::memory_order_acquire); ++k) op_at(i).impls[k]->stats.reset();
  for (int32_t i = 0; i < op_count(); ++i) op_at(i).calls_before_step = 0;
  return OPSWAP_OK;
}
}
