#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "launch/path/path_lock.h"

namespace switchyard {

bool is_unfinished(const std::filesystem::path& folder);  // by its name

// A run folder in the making, under a hidden name beside its own; finish() gives it its name. An
// error before that leaves nothing, not even the folders made above it; what a killed process left
// is replaced. Throws Error when it cannot be made or another process makes the same.
class UnfinishedFolder {
 public:
  explicit UnfinishedFolder(const std::filesystem::path& name);
  ~UnfinishedFolder();
  UnfinishedFolder(const UnfinishedFolder&) = delete;
  UnfinishedFolder& operator=(const UnfinishedFolder&) = delete;

  const RunFolder& run() const { return run_; }
  void finish();  // throws Error when a folder that is not empty has the name

 private:
  // Folders that were made for this one, the innermost first; removed while they are empty.
  struct Made {
    std::vector<std::filesystem::path> folders;
    ~Made();
  };
  std::filesystem::path name_;
  RunFolder run_;
  Made above_;
  std::unique_ptr<PathLock> lock_;
};

}  // namespace switchyard
