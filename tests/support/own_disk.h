#pragma once

#include <sys/mount.h>

#include <filesystem>
#include <string>
#include <utility>

namespace switchyard::test {

// A small file system of its own at a folder, for as long as this object lives, where the user may
// mount one; that is root, mostly.
class OwnDisk {
 public:
  explicit OwnDisk(std::filesystem::path folder, int mebibytes = 2) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
    const std::string size = "size=" + std::to_string(mebibytes) + "m";
    mounted_ = mount("tmpfs", folder_.c_str(), "tmpfs", 0, size.c_str()) == 0;
  }
  ~OwnDisk() {
    if (mounted_) umount2(folder_.c_str(), MNT_DETACH);
  }
  OwnDisk(const OwnDisk&) = delete;
  OwnDisk& operator=(const OwnDisk&) = delete;
  bool mounted() const { return mounted_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  bool mounted_ = false;
};

}  // namespace switchyard::test
