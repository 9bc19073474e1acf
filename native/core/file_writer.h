// Files written by a thread of their own, so that the one that makes their bytes does not wait for the disk.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace opswap {

// An open folder: its files are made in it wherever its name leads by then.
class Folder {
 public:
  explicit Folder(const char *path);  // fd() is -1 where it cannot be opened or is a link; errno says why
  ~Folder();
  Folder(const Folder &) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

struct FileToWrite {
  std::shared_ptr<const Folder> folder;
  std::string name;
  std::string bytes;
  std::function<void(int error)> done;  // on the writer's thread; 0, or an errno
};

// Whole or not at all, for this user alone (0600), in place of a file of the name.
void write_file_soon(FileToWrite file);

}  // namespace opswap
