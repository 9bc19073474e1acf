// The last launches, for whoever asks by opswap_emulator_launches.
#include <deque>
#include <mutex>
#include <string>

#include "block.h"

namespace opswap::emu {
namespace {

constexpr size_t kKept = 1024;

struct Log {
  std::mutex mutex;
  std::deque<std::string> launches;
};
Log &log() {
  static Log all;
  return all;
}

struct Field {
  const char *name;
  uint64_t Counters::*value;
};
constexpr Field kFields[] = {{"switches", &Counters::switches},
                             {"barriers", &Counters::barriers},
                             {"collectives", &Counters::collectives},
                             {"copies", &Counters::copies},
                             {"copied_bytes", &Counters::copied_bytes},
                             {"boxed_bytes", &Counters::boxed_bytes},  // of them, by tensor maps
                             {"wgmmas", &Counters::wgmmas},
                             {"load_bytes", &Counters::load_bytes},
                             {"load_sectors", &Counters::load_sectors},
                             {"distinct_load_sectors", &Counters::distinct_load_sectors},
                             {"store_bytes", &Counters::store_bytes},
                             {"store_sectors", &Counters::store_sectors},
                             {"distinct_store_sectors", &Counters::distinct_store_sectors},
                             {"shared_accesses", &Counters::shared_accesses},
                             {"shared_passes", &Counters::shared_passes},
                             {"bank_conflicts", &Counters::bank_conflicts},
                             {"peer_load_bytes", &Counters::peer_load_bytes},
                             {"peer_store_bytes", &Counters::peer_store_bytes},
                             {"wgmma_rows", &Counters::wgmma_rows},
                             {"wgmma_useful_rows", &Counters::wgmma_useful_rows},
                             {"wgmma_columns", &Counters::wgmma_columns},
                             {"wgmma_useful_columns", &Counters::wgmma_useful_columns},
                             {"barrier_waits", &Counters::barrier_waits},
                             {"mbarrier_waits", &Counters::mbarrier_waits}};
static_assert(sizeof(Counters) == std::size(kFields) * sizeof(uint64_t), "every counter is told");

std::string of(const dim3 &d) {
  return "[" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + "]";
}

std::string quoted(const char *text) {
  std::string out = "\"";
  for (const char *c = text; *c; ++c) {
    if (*c == '"' || *c == '\\') out += '\\';
    out += static_cast<unsigned char>(*c) < ' ' ? ' ' : *c;
  }
  return out + '"';
}

}  // namespace

void remember(const Launch &how, const Report &report) {
  std::string text = "{\"kernel\":" + quoted(how.name) + ",\"grid\":" + of(how.grid) + ",\"block\":" + of(how.block) +
                     ",\"smem\":" + std::to_string(how.smem) + ",\"ok\":" + (report ? "true" : "false") +
                     ",\"counters\":{";
  for (const Field &field : kFields)
    text += (&field == kFields ? "\"" : ",\"") + std::string(field.name) +
            "\":" + std::to_string(report.counters.*field.value);
  const std::lock_guard lock(log().mutex);
  log().launches.push_back(text + "}}");
  if (log().launches.size() > kKept) log().launches.pop_front();
}

}  // namespace opswap::emu

const char *opswap_emulator_launches(int clear) {
  thread_local std::string text;
  auto &log = opswap::emu::log();
  const std::lock_guard lock(log.mutex);
  text = "[";
  for (const std::string &launch : log.launches) text += (text.size() > 1 ? "," : "") + launch;
  text += "]";
  if (clear) log.launches.clear();
  return text.c_str();
}
