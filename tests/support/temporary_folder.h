#pragma once

#include <filesystem>

namespace switchyard::test {

// A folder that is removed with this object. It lies alone in one of its own: what looks for paths
// beside a run (paths_near) finds none of a test that runs at the same time.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace switchyard::test
