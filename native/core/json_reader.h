// A small JSON reader for files of the user: bounded in depth, and strict. It takes what Python's json writes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace opswap {

struct Json {
  enum class Kind { null, boolean, number, string, list, object };
  Kind kind = Kind::null;
  bool truth = false;
  double number = 0;
  std::string text;               // of a string
  std::string_view raw;           // as it is written in the file
  std::vector<std::string> keys;  // of an object, one for each of `items`
  std::vector<Json> items;

  // nullptr where there is no such key.
  const Json *find(std::string_view key) const;
};

// "" or what is wrong, with the place. `text` must outlive `out`.
std::string read_json(std::string_view text, Json &out);

}  // namespace opswap
