// Recordings: files beside running calls, their bounds, and folders and disks that refuse.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "harness.h"

namespace {
struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/opswap-recording-XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    path = name;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> all;
    DIR *dir = opendir(path.c_str());
    while (const dirent *entry = readdir(dir))
      if (entry->d_name[0] != '.') all.push_back(entry->d_name);
    closedir(dir);
    return all;
  }
  ~Folder() {
    for (const std::string &name : files()) unlink((path + "/" + name).c_str());
    rmdir(path.c_str());
  }
};
}  // namespace

static opswap_recording config_for(const Folder &folder) {
  opswap_recording config{};
  config.struct_size = sizeof config;
  config.share_of_calls = 1;
  config.most_of_bucket = 1000;
  config.folder = folder.path.c_str();
  config.most_bytes = config.memory = 1 << 20;
  return config;
}

static std::string recorded() {
  char text[1 << 14];
  size_t size = sizeof text;
  CHECK_EQ(opswap_record_status("rms_norm", text, &size), 0);
  return text;
}

// Waits until the writer has nothing left to do.
static std::string settled() {
  while (recorded().find("\"waiting_bytes\":0,") == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return recorded();
}

TEST(recording) {
  Folder folder;
  const opswap_recording config = config_for(folder);
  CHECK_EQ(opswap_record_start("rms_norm", &config), 0);
  CHECK_EQ(name(opswap_record_start("rms_norm", &config)), "OPSWAP_E_EXISTS");
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([] {
      NormCall call(2, 16);
      for (int i = 0; i < 50; ++i) {
        CHECK_EQ(call.run(), 0);
        CHECK(call.right());
      }
    });
  for (auto &t : callers) t.join();
  CHECK(settled().find("\"files\":150,") != std::string::npos);
  const auto files = folder.files();
  CHECK_EQ(files.size(), 150u);
  for (const std::string &name : files) {
    struct stat is{};
    CHECK_EQ(stat((folder.path + "/" + name).c_str(), &is), 0);
    CHECK_EQ(is.st_mode & 07777, 0600u);
    CHECK(name.find("rms_norm-T2-H16-float32-") == 0 && name.find(".part") == std::string::npos);
  }
  CHECK_EQ(opswap_record_stop("rms_norm"), 0);
  NormCall(2, 16).run();
  settled();
  CHECK_EQ(folder.files().size(), 150u);
}

TEST(recording_bounds) {
  Folder folder;
  opswap_recording config = config_for(folder);
  config.most_bytes = 3000;  // input and weight take 192 bytes, a file about 1000
  CHECK_EQ(opswap_record_start("rms_norm", &config), 0);
  NormCall call(2, 16);
  for (int i = 0; i < 20; ++i) {
    CHECK_EQ(call.run(), 0);
    settled();
  }
  const size_t written = folder.files().size();
  CHECK(written >= 2 && written <= 4);
  CHECK(recorded().find("\"memory\":" + std::to_string(20 - written)) != std::string::npos);
  CHECK_EQ(opswap_record_stop("rms_norm"), 0);
  chmod(folder.path.c_str(), 0750);
  CHECK_EQ(name(opswap_record_start("rms_norm", &config)), "OPSWAP_E_ARGUMENT");
  CHECK(std::string(opswap_last_error()).find("needs a folder of your own with mode 0700") != std::string::npos);
  chmod(folder.path.c_str(), 0700);
  config.folder = "/nowhere/at/all";
  CHECK_EQ(name(opswap_record_start("rms_norm", &config)), "OPSWAP_E_ARGUMENT");
  const std::string link = folder.path + "/.link";
  CHECK_EQ(symlink(folder.path.c_str(), link.c_str()), 0);
  config.folder = link.c_str();
  CHECK_EQ(name(opswap_record_start("rms_norm", &config)), "OPSWAP_E_ARGUMENT");
  unlink(link.c_str());
}

// A call whose copy would hold its thread up for long is left out, with its reason, whatever memory there is.
TEST(recording_size) {
  Folder folder;
  opswap_recording config = config_for(folder);
  config.most_bytes = config.memory = 1 << 30;
  CHECK_EQ(opswap_record_start("rms_norm", &config), 0);
  NormCall small(2, 16), large(1025, 16384);  // 64 MiB and 64 KiB, and the weight
  CHECK_EQ(large.run(), 0);
  CHECK_EQ(small.run(), 0);
  const std::string status = settled();
  CHECK(status.find("\"size\":1,") != std::string::npos && status.find("\"files\":1,") != std::string::npos);
}

// Files go into the folder that was looked at, not into what stands under its name by now.
TEST(recording_moved) {
  Folder folder, other;
  const std::string moved = folder.path + "-moved";
  const opswap_recording config = config_for(folder);
  CHECK_EQ(opswap_record_start("rms_norm", &config), 0);
  CHECK_EQ(rename(folder.path.c_str(), moved.c_str()), 0);
  CHECK_EQ(symlink(other.path.c_str(), folder.path.c_str()), 0);
  CHECK_EQ(NormCall(2, 16).run(), 0);
  settled();
  CHECK_EQ(unlink(folder.path.c_str()), 0);
  CHECK_EQ(rename(moved.c_str(), folder.path.c_str()), 0);
  CHECK_EQ(folder.files().size(), 1u);
  CHECK_EQ(other.files().size(), 0u);
}

// A folder that goes away under a recording ends it, with the reason; the calls go on.
TEST(recording_lost) {
  NormCall call(2, 16);
  {
    Folder folder;
    const opswap_recording config = config_for(folder);
    CHECK_EQ(opswap_record_start("rms_norm", &config), 0);
  }
  CHECK_EQ(call.run(), 0);
  CHECK(settled().find("No such file or directory") != std::string::npos);
  CHECK(recorded().find("\"running\":false") != std::string::npos);
  CHECK_EQ(call.run(), 0);
  CHECK(call.right());
}
