// The source line that a report is about: the innermost one that is neither the emulator's nor a wrapper's.
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>
#include <unwind.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "block.h"

namespace opswap::emu {
namespace {

constexpr int kDepth = 32;

struct Frames {
  std::array<uintptr_t, kDepth> address{};
  int count = 0;
};

_Unwind_Reason_Code next_frame(_Unwind_Context *context, void *into) {
  auto &frames = *static_cast<Frames *>(into);
  frames.address[size_t(frames.count++)] = _Unwind_GetIP(context) - 1;  // of the call, not behind it
  return frames.count < kDepth ? _URC_NO_REASON : _URC_END_OF_STACK;
}

bool is_any(const char *line, std::initializer_list<const char *> places) {
  for (const char *place : places)
    if (std::strstr(line, place)) return true;
  return false;
}

bool of_the_emulator(const char *line) {  // runtime without debug information: a file without a line
  return std::strchr(line, '?') || is_any(line, {"/emulator/runtime/", "/emulator/include/", "/usr/"});
}
bool of_a_wrapper(const char *line) { return is_any(line, {"/common/sm90/", "/common/device/"}); }

// addr2line tells the lines of every inlined call, the innermost first.
std::string ask(const std::string &module, const std::string &offsets) {
  const std::string command = "addr2line -i -e '" + module + "'" + offsets + " 2>/dev/null";
  FILE *pipe = popen(command.c_str(), "r");
  if (!pipe) return "";
  char line[1024];
  std::string found, outermost;
  while (std::fgets(line, sizeof line, pipe)) {
    line[std::strcspn(line, " \n")] = 0;
    if (of_the_emulator(line)) continue;
    if (!of_a_wrapper(line) && found.empty()) found = line;
    if (of_a_wrapper(line) && !std::strstr(line, "/launch.h")) outermost = line;
  }
  pclose(pipe);
  if (found.empty()) found = outermost;  // a kernel that rooms share lies in common/device
  const size_t slash = found.rfind('/');
  return slash == std::string::npos ? found : found.substr(slash + 1);
}

std::string line_of(const Frames &frames) {
  static std::mutex mutex;
  static std::map<std::array<uintptr_t, kDepth>, std::string> known;
  const std::lock_guard lock(mutex);
  auto [at, is_new] = known.try_emplace(frames.address);
  if (!is_new) return at->second;
  std::string module, offsets;
  for (int i = 0; i < frames.count; ++i) {
    Dl_info info;
    link_map *map = nullptr;
    const auto *address = reinterpret_cast<const void *>(frames.address[size_t(i)]);
    if (!dladdr1(address, &info, reinterpret_cast<void **>(&map), RTLD_DL_LINKMAP) || !map) continue;
    char offset[32];
    std::snprintf(offset, sizeof offset, " 0x%zx", size_t(frames.address[size_t(i)] - map->l_addr));
    if (module.empty()) module = *map->l_name ? map->l_name : "/proc/self/exe";
    if (module == (*map->l_name ? map->l_name : "/proc/self/exe")) offsets += offset;
  }
  if (char self[1024]; module == "/proc/self/exe") {  // the child of popen is another `self`
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    module = n > 0 ? std::string(self, size_t(n)) : "";
  }
  return at->second = module.empty() ? "" : ask(module, offsets);
}

}  // namespace

std::string line_here() {
  Frames frames;
  _Unwind_Backtrace(next_frame, &frames);
  return line_of(frames);
}

std::string line_at(const void *return_address) {
  Frames frames;
  frames.address[0] = reinterpret_cast<uintptr_t>(return_address) - 1, frames.count = 1;
  return return_address ? line_of(frames) : "";
}

}  // namespace opswap::emu
