// Reads a file of local evidence, whose first line is the digest of the rest, and says why one does not count.
#include "evidence_file.h"

#include <algorithm>
#include <set>
#include <vector>

#include "json_reader.h"
#include "sha256.h"
#include "user_files.h"

namespace opswap {
namespace {

using Kind = Json::Kind;

constexpr std::string_view kOpening = "{\"digest\": \"", kClosing = "\",\n";
constexpr size_t kHex = 64;
constexpr double kSchema = 1;
constexpr const char *kAgain = "; run: python -m opswap.evidence run ";

struct Key {
  const char *name;
  Kind kind;
};
constexpr Key kKeys[] = {{"digest", Kind::string},    {"schema", Kind::number},         {"op", Kind::string},
                         {"device", Kind::object},    {"implementation", Kind::string}, {"backend", Kind::string},
                         {"commit", Kind::string},    {"sources", Kind::string},        {"driver", Kind::string},
                         {"cuda", Kind::string},      {"clocks_mhz", Kind::object},     {"copy_gbps", Kind::number},
                         {"correctness", Kind::list}, {"matrix_tflops", Kind::object},  {"timing", Kind::list},
                         {"build", Kind::string},     {"version", Kind::string},        {"refused", Kind::list},
                         {"date", Kind::string}};

// The first difference from the keys and kinds above.
std::string form_fault(const Json &file) {
  if (file.kind != Kind::object) return "it is no object";
  for (const Key &key : kKeys) {
    const Json *found = file.find(key.name);
    if (!found || found->kind != key.kind)
      return std::string("its key '") + key.name + "' is missing or of another kind";
  }
  for (const std::string &name : file.keys)
    if (std::none_of(std::begin(kKeys), std::end(kKeys), [&](const Key &key) { return name == key.name; }))
      return "this build does not know its key '" + name + "'";
  return file.find("schema")->number == kSchema ? "" : "it has another schema than 1";
}

std::string digest_fault(std::string_view text) {
  const size_t rest = kOpening.size() + kHex;
  if (text.substr(0, kOpening.size()) != kOpening ||
      text.substr(std::min(rest, text.size()), kClosing.size()) != kClosing)
    return "it does not begin with its digest";
  const std::string is = sha256_hex(text.substr(rest + kClosing.size()));
  return text.substr(kOpening.size(), kHex) == is ? "" : "it was edited: its digest is that of another content";
}

std::string text_of(const Json &object, const char *key) {
  const Json *found = object.find(key);
  return found && found->kind == Kind::string ? found->text : "";
}

// A text that is shown to people.
bool is_plain(const std::string &text) {
  return !text.empty() && text.size() <= 128 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

std::string device_fault(const Json &file, CardEvidence &out) {
  const Json &device = *file.find("device");
  if (text_of(file, "backend") != "cuda" || text_of(device, "architecture") == "emulated")
    return "it is of an emulated run, which is no evidence; remove the file";
  out.model = text_of(device, "model"), out.device = text_of(device, "name"), out.date = text_of(file, "date");
  if (!is_word(out.model) || !is_plain(out.device) || !is_plain(out.date)) return "its device or date cannot be read";
  if (const std::string found = text_of(device, "architecture"); found != "sm_90")
    return "it is of a device of architecture " + found.substr(0, 16) +
           ", the kernels are made for sm_90; remove the file";
  return "";
}

using Seen = std::set<std::string>;

// Takes what rows were tried; a row names its case and types.
std::string take_rows(const Json &rows, bool results, Seen &tried, Seen &dtypes) {
  for (const Json &row : rows.items) {
    const Json *of = row.find("case"), *types = row.find("types"), *passed = row.find("passed");
    if (!of || !types || types->kind != Kind::object) return "a row has no case or no types";
    if (results && (!passed || passed->kind != Kind::boolean || !passed->truth))
      return "the case " + std::string(of->raw.substr(0, 80)) + " did not pass";
    tried.insert(std::string(of->raw) + std::string(types->raw));
    for (size_t i = 0; results && i < types->keys.size(); ++i)
      dtypes.insert(types->keys[i] + ":" + types->items[i].text);
  }
  return "";
}

std::string correctness_fault(const Json &file, const KernelSources &kernels) {
  Seen tried, dtypes;
  if (std::string fault = take_rows(*file.find("correctness"), true, tried, dtypes); !fault.empty()) return fault;
  if (std::string fault = take_rows(*file.find("refused"), false, tried, dtypes); !fault.empty()) return fault;
  if (tried.size() != size_t(kernels.cases))
    return "it has " + std::to_string(tried.size()) + " of " + std::to_string(kernels.cases) + " cases";
  std::string_view rest = kernels.dtypes;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    const std::string wanted(rest.substr(0, end));
    if (!dtypes.count(wanted)) return "no case passed with " + wanted;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

std::string fault_of(std::string_view place, std::string_view text, const KernelSources *sources, int32_t count,
                     CardEvidence &out) {
  if (text.size() > kMostEvidenceBytes) return "it is larger than 1 MiB";
  if (std::string fault = digest_fault(text); !fault.empty()) return fault;
  Json file;
  if (std::string fault = read_json(text, file); !fault.empty()) return "it is not the JSON that is expected: " + fault;
  if (std::string fault = form_fault(file); !fault.empty()) return fault;
  if (std::string fault = device_fault(file, out); !fault.empty()) return fault;
  out.op = text_of(file, "op");
  const auto kernels = std::find_if(sources, sources + count, [&](const KernelSources &k) { return out.op == k.op; });
  if (kernels == sources + count || text_of(file, "implementation") != "sm90")
    return "this build has no kernels of the op that it names";
  if (place != out.model + "/" + out.op + ".json")
    return "it is of " + out.model + " and " + out.op + ", and lies elsewhere";
  if (text_of(file, "sources") != kernels->digest)
    return "it is of other sources, build " + text_of(file, "build").substr(0, 12);
  out.timed = !file.find("timing")->items.empty();
  return correctness_fault(file, *kernels);
}

}  // namespace

std::string read_evidence(std::string_view place, std::string_view text, const KernelSources *sources, int32_t count,
                          CardEvidence &out) {
  constexpr size_t kMost = 240;
  const std::string fault = shown(fault_of(place, text, sources, count, out), kMost);
  if (fault.empty() || fault.find("; ") != std::string::npos) return fault;
  const std::string_view name = place.substr(place.rfind('/') + 1);
  return fault + kAgain + shown(name.substr(0, name.rfind('.')), kMost);
}

}  // namespace opswap
