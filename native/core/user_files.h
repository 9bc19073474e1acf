// Files that the library reads of its user: where their folder is, and one file, bounded in bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace opswap {

// What the environment variable says, else opswap in the user's state folder and `name` in that; "" where there is
// neither.
std::string user_folder(const char *variable, const std::string &name = "");

// "" and the text, of which no more than most + 1 bytes are read; or why the file cannot be read.
std::string read_user_file(const std::string &path, size_t most, std::string &text);

// What a file or its name says, as it can be shown: printable ASCII, and no more than `most` bytes.
std::string shown(std::string_view text, size_t most);

// One word of letters, digits and dashes, as device models are.
bool is_word(std::string_view text);

}  // namespace opswap
