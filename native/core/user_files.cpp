// Where the user's files are, and how one is read without trust in what it is.
#include "user_files.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace opswap {

std::string user_folder(const char *variable, const std::string &name) {
  const auto set = [](const char *of) {
    const char *value = std::getenv(of);
    return std::string(value ? value : "");
  };
  if (std::string own = set(variable); !own.empty()) return own;
  const std::string state = set("XDG_STATE_HOME"), home = set("HOME");
  const std::string own_folder = "/opswap" + (name.empty() ? "" : "/" + name);
  if (!state.empty()) return state + own_folder;
  return home.empty() ? "" : home + "/.local/state" + own_folder;
}

std::string read_user_file(const std::string &path, size_t most, std::string &text) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed)) return "it is no regular file; remove it";
  std::ifstream in(path, std::ios::binary);
  text.assign(most + 1, '\0');
  in.read(text.data(), std::streamsize(text.size()));
  text.resize(size_t(in.gcount()));
  return in.bad() || !in.is_open() ? "it cannot be read; look at its permissions" : "";
}

std::string shown(std::string_view text, size_t most) {
  std::string out(text.substr(0, most));
  std::replace_if(out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return out;
}

bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= 32 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c == '-' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  });
}

}  // namespace opswap
