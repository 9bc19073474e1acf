// Files written by a thread of their own, so that the one that makes their bytes does not wait for the disk.
#pragma once

#include <functional>
#include <string>

namespace opswap {

struct FileToWrite {
  std::string path;
  std::string bytes;
  std::function<void(int error)> done;  // on the writer's thread; 0, or an errno
};

// Whole or not at all, for this user alone (0600), in place of a file of the name.
void write_file_soon(FileToWrite file);

}  // namespace opswap
