// Reads the user's folder of plan files, DEVICE.json each, and answers for the device that is there.
#include "tuned.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <unordered_map>
#include <vector>

#include "device.h"
#include "evidence_file.h"
#include "json.h"
#include "json_reader.h"
#include "local_evidence.h"
#include "opswap_plans.h"
#include "registry.h"
#include "sha256.h"
#include "user_files.h"

namespace opswap {
namespace {

using Kind = Json::Kind;
namespace fs = std::filesystem;

constexpr size_t kMostFiles = 16, kMostBytes = 1 << 20, kMostEntries = 4096, kMostText = 96;
constexpr double kSchema = 1;

struct Hash {
  size_t operator()(const PlanKey &key) const {
    uint64_t mixed = 0;
    for (const int64_t part : key.of) mixed = (mixed ^ uint64_t(part)) * 0x9E3779B97F4A7C15ull, mixed ^= mixed >> 29;
    return size_t(mixed);
  }
};

// What a file says of one implementation.
struct TunedPart {
  std::string op, implementation, remark;  // a remark: why it is void
  std::unordered_map<PlanKey, int64_t, Hash> choices;
  size_t measured = 0;
};

struct TunedFile {
  std::string name, device, digest, refusal;
  std::vector<TunedPart> parts;
};

struct Tuned {
  std::string folder, refusal, digest;
  std::vector<TunedFile> files;
};

const Json *text_at(const Json &object, const char *key, size_t most) {
  const Json *found = object.kind == Kind::object ? object.find(key) : nullptr;
  return found && found->kind == Kind::string && found->text.size() <= most ? found : nullptr;
}

std::string entry_fault(const Json &entry, const PlanHooks &hooks, const std::string &device, TunedPart &part) {
  const Json *key = text_at(entry, "key", kMostText), *way = text_at(entry, "way", kMostText),
             *source = text_at(entry, "source", kMostText);
  const bool measured = source && source->text == "measured";
  if (!key || !way || !(measured || (source && source->text == "modelled")))
    return "an entry has no key, no way, or no source that is modelled or measured";
  PlanChoice choice{};
  if (const char *why = hooks.read(key->text, way->text, device.c_str(), choice))
    return "the way '" + shown(way->text, kMostText) + "' for '" + shown(key->text, kMostText) + "' " + why;
  if (!part.choices.emplace(choice.key, choice.way).second)
    return "the key '" + shown(key->text, kMostText) + "' comes twice";
  part.measured += measured;
  return "";
}

// A part of other kernels is void and says so; what is wrong in one that counts refuses the file.
std::string part_fault(const Json &json, const std::string &device, TunedPart &part) {
  const Json *op = text_at(json, "op", kMostText), *name = text_at(json, "implementation", kMostText),
             *sources = text_at(json, "sources", kMostText), *entries = json.find("entries");
  if (!op || !name || !sources || !entries || entries->kind != Kind::list)
    return "a part has no op, implementation, sources or entries";
  part.op = shown(op->text, kMostText), part.implementation = shown(name->text, kMostText);
  const PlanHooks *hooks = plan_hooks_of(op->text, name->text);
  if (!hooks)
    part.remark = "this build has no such implementation with plans to choose";
  else if (sources->text != kernel_sources_of(op->text.c_str()))
    part.remark = "it was tuned for other kernels; run: opswap tune " + part.op + " --device " + device;
  if (!part.remark.empty()) return "";
  if (entries->items.size() > kMostEntries) return part.op + " has more than 4096 entries";
  for (const Json &entry : entries->items)
    if (std::string fault = entry_fault(entry, *hooks, device, part); !fault.empty()) return part.op + ": " + fault;
  return "";
}

std::string file_fault(const std::string &text, TunedFile &file) {
  if (text.size() > kMostBytes) return "it is larger than 1 MiB";
  Json json;
  if (std::string fault = read_json(text, json); !fault.empty()) return "it is not the JSON that is expected: " + fault;
  const Json *schema = json.kind == Kind::object ? json.find("schema") : nullptr, *parts = json.find("ops");
  if (!schema || schema->number != kSchema) return "it has another schema than 1";
  const Json *device = text_at(json, "device", kMostText);
  if (!device || !is_word(device->text) || !parts || parts->kind != Kind::list) return "it has no device or no ops";
  if (device->text + ".json" != file.name) return "it is of " + device->text + ", and lies under another name";
  file.device = device->text;
  for (const Json &part : parts->items)
    if (std::string fault = part_fault(part, file.device, file.parts.emplace_back()); !fault.empty()) return fault;
  return "";
}

TunedFile read_file(const std::string &folder, const std::string &name) {
  TunedFile file{name, "", "", "", {}};
  std::string text;
  file.refusal = read_user_file((fs::path(folder) / name).string(), kMostBytes, text);
  if (file.refusal.empty()) file.refusal = file_fault(text, file);
  if (file.refusal.empty())
    file.digest = sha256_hex(text);
  else
    file.parts.clear();
  return file;
}

std::vector<std::string> names_in(const std::string &folder, std::string &refusal) {
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    if (at->path().extension() != ".json") continue;
    if (names.size() == kMostFiles) {
      refusal = "more than 16 files; remove those of other devices";
      return {};
    }
    names.push_back(at->path().filename().string());
  }
  if (failed && failed != std::errc::no_such_file_or_directory) refusal = failed.message();
  std::sort(names.begin(), names.end());
  return names;
}

Tuned read_folder() {
  Tuned all;
  try {
    const std::string state = user_folder("OPSWAP_STATE_DIR");
    if (state.empty()) return all;
    all.folder = state + "/tuned";
    std::string digests;
    for (const std::string &name : names_in(all.folder, all.refusal)) {
      const TunedFile &file = all.files.emplace_back(read_file(all.folder, name));
      if (file.refusal.empty()) digests += file.device + " " + file.digest + "\n";
    }
    if (!digests.empty()) all.digest = sha256_hex(digests);
  } catch (...) {  // memory is short: nothing of it counts
    all.files.clear();
    all.digest.clear();
  }
  return all;
}

const Tuned &tuned() {
  static const Tuned *read = new Tuned(read_folder());  // never destroyed, like the registry
  return *read;
}

const TunedFile *file_here() {
  for (const TunedFile &file : tuned().files)
    if (file.refusal.empty() && device_is_one_of(file.device.c_str())) return &file;
  return nullptr;
}

std::string part_json(const TunedPart &part) {
  return "{\"op\":" + quoted(part.op.c_str()) + ",\"implementation\":" + quoted(part.implementation.c_str()) +
         ",\"entries\":" + std::to_string(part.choices.size()) + ",\"measured\":" + std::to_string(part.measured) +
         ",\"remark\":" + quoted(part.remark.c_str()) + "}";
}

std::string file_json(const TunedFile &file) {
  std::string json = "{\"name\":" + quoted(shown(file.name, kMostText).c_str()) +
                     ",\"device\":" + quoted(file.device.c_str()) + ",\"digest\":" + quoted(file.digest.c_str()) +
                     ",\"refusal\":" + quoted(shown(file.refusal, 4 * kMostText).c_str()) + ",\"ops\":[";
  for (const TunedPart &part : file.parts) json += (&part == &file.parts.front() ? "" : ",") + part_json(part);
  return json + "]}";
}

}  // namespace

const int64_t *tuned_choice(const char *op, const char *implementation, const PlanKey &key) {
  if (tuned().files.empty()) [[likely]]
    return nullptr;
  static const TunedFile *here = file_here();
  if (!here) return nullptr;
  for (const TunedPart &part : here->parts)
    if (part.op == op && part.implementation == implementation)
      if (const auto found = part.choices.find(key); found != part.choices.end()) return &found->second;
  return nullptr;
}

std::vector<std::string> tuned_remarks(const char *op, const char *implementation) {
  std::vector<std::string> out;
  for (const TunedFile &file : tuned().files) {
    if (!file.refusal.empty()) out.push_back("plan file " + file.name + " is refused: " + file.refusal);
    for (const TunedPart &part : file.parts) {
      if (part.op != op || part.implementation != implementation) continue;
      const std::string count = std::to_string(part.choices.size()) + " plans";
      out.push_back(
          "plan file " + file.name + ", " + file.digest.substr(0, 12) + ": " +
          (part.remark.empty() ? count + ", " + std::to_string(part.measured) + " measured" : "void, " + part.remark));
    }
  }
  for (std::string &remark : out) remark = shown(remark, 4 * kMostText);
  return out;
}

}  // namespace opswap

using namespace opswap;

extern "C" opswap_status opswap_tuned(char *buf, size_t *size) {
  const Tuned &all = tuned();
  std::string json = "{\"folder\":" + quoted(all.folder.c_str()) + ",\"digest\":" + quoted(all.digest.c_str()) +
                     ",\"refusal\":" + quoted(all.refusal.c_str()) + ",\"files\":[";
  for (const TunedFile &file : all.files) json += (&file == &all.files.front() ? "" : ",") + file_json(file);
  return copy_out("opswap_tuned", json + "]}", buf, size);
}
