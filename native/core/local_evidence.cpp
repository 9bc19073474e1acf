// Reads the user's folder of evidence, bounded in files and bytes, and joins it with what the build knew. A folder that
// is not there is no evidence, and no error.
#include "local_evidence.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "user_files.h"

namespace opswap {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostFiles = 256;
constexpr size_t kMostName = 256;  // bytes of a name that are shown

// MODEL/OP.json of the folder, sorted, so that two processes see the same.
std::vector<std::string> places_in(const std::string &folder, std::string &refusal) {
  std::vector<std::string> places;
  std::error_code failed;
  for (fs::directory_iterator models(folder, failed), end; !failed && models != end; models.increment(failed)) {
    if (std::error_code other; !models->is_directory(other)) continue;
    for (fs::directory_iterator at(models->path(), failed); !failed && at != end; at.increment(failed)) {
      if (at->path().extension() != ".json") continue;
      if (places.size() == kMostFiles) {
        refusal = "more than 256 files; remove those of older builds";
        return {};
      }
      places.push_back((models->path().filename() / at->path().filename()).string());
    }
  }
  if (failed && failed != std::errc::no_such_file_or_directory) refusal = failed.message();
  std::sort(places.begin(), places.end());
  return places;
}

LocalFile read_file(const std::string &folder, const std::string &place) {
  LocalFile file{place, "", {}};
  std::string text;
  file.refusal = read_user_file((fs::path(folder) / place).string(), kMostEvidenceBytes, text);
  if (file.refusal.empty()) file.refusal = read_evidence(place, text, kKernelSources, kKernelSourceCount, file.facts);
  return file;
}

LocalEvidence read_folder() {
  LocalEvidence all;
  try {
    all.folder = user_folder("OPSWAP_EVIDENCE_DIR", "evidence");
    if (all.folder.empty()) return all;
    for (const std::string &place : places_in(all.folder, all.refusal))
      all.files.push_back(read_file(all.folder, place));
  } catch (...) {  // memory is short: nothing of it counts
    all.files.clear();
  }
  return all;
}

// `words` with one more, kept for the life of the process like the registry.
const char *with_word(const char *words, const std::string &word) {
  if (!words) return strdup(word.c_str());
  const std::string all = " " + std::string(words) + " ";
  return all.find(" " + word + " ") != std::string::npos ? words : strdup((std::string(words) + " " + word).c_str());
}

}  // namespace

const LocalEvidence &local_evidence() {
  static const LocalEvidence *read = new LocalEvidence(read_folder());  // never destroyed, like the registry
  return *read;
}

void add_local_evidence(ImplRecord &record) {
  for (const LocalFile &file : local_evidence().files) {
    if (!file.refusal.empty() || file.facts.op != record.op) continue;
    record.evidence.experimental = nullptr;
    record.evidence.correct = with_word(record.evidence.correct, file.facts.model);
    if (file.facts.timed) record.evidence.timed = with_word(record.evidence.timed, file.facts.model);
  }
}

std::vector<std::string> local_remarks(const char *op) {
  std::vector<std::string> out;
  for (const LocalFile &file : local_evidence().files) {
    if (fs::path(file.place).stem() != op) continue;
    if (file.refusal.empty())
      out.push_back("evidence: local, " + file.facts.device + ", " + file.facts.date);
    else
      out.push_back("OPSWAP_E_EVIDENCE: " + shown(file.place, kMostName) + " is refused: " + file.refusal);
  }
  if (!local_evidence().refusal.empty())
    out.push_back("OPSWAP_E_EVIDENCE: " + shown(local_evidence().folder, kMostName) +
                  " was not read: " + local_evidence().refusal);
  return out;
}

const char *kernel_sources_of(const char *op) {
  for (int32_t i = 0; i < kKernelSourceCount; ++i)
    if (!std::strcmp(kKernelSources[i].op, op)) return kKernelSources[i].digest;
  return "";
}

}  // namespace opswap
