#include "launch/path/unfinished_folder.h"

#include <sys/stat.h>

#include "core/error.h"
#include "core/files.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

fs::path without_slash(const fs::path& name) {
  const fs::path whole = fs::absolute(name).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

fs::path hidden(const fs::path& name) {
  return name.parent_path() / fmt::format(".{}.unfinished", name.filename().string());
}

// The names in the folder.
void bring_to_disk(const fs::path& folder) {
  const auto problem = sync_folder(folder);
  if (problem == std::errc::permission_denied) return;  // writable, unreadable
  check(!problem, ExitCode::storage, "file", "'{}' cannot be brought to the disk: {}",
        folder.string(), problem.message());
}

// What cannot be replaced by a folder of its name.
void check_place(const fs::path& name) {
  struct stat own {
  }, above{};
  if (lstat(name.c_str(), &own) != 0 || stat(name.parent_path().c_str(), &above) != 0) return;
  check(!S_ISLNK(own.st_mode), ExitCode::usage, "file",
        "'{}' is a link; a new folder, or an empty one, is allowed", name.string());
  check(own.st_dev == above.st_dev, ExitCode::usage, "file",
        "'{}' is where another file system begins; a new folder in it is allowed", name.string());
}

}  // namespace

bool is_unfinished(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return name.starts_with('.') && name.ends_with(".unfinished");
}

UnfinishedFolder::Made::~Made() {
  std::error_code ignored;
  for (const fs::path& folder : folders) fs::remove(folder, ignored);
}

UnfinishedFolder::UnfinishedFolder(const fs::path& name)
    : name_(without_slash(name)), run_(hidden(name_)) {
  check_place(name_);
  std::error_code ignored;  // what cannot be looked into cannot be made either
  for (fs::path above = name_.parent_path(); !fs::exists(above, ignored);
       above = above.parent_path()) {
    above_.folders.push_back(above);
  }
  make_folder(name_.parent_path());
  lock_ = std::make_unique<PathLock>(run_, std::chrono::minutes(10));
  for (const auto& left : fs::directory_iterator(run_.folder(), ignored)) {
    const fs::path file = left.path().filename();
    if (file != "lock" && file != "lease") fs::remove_all(left.path(), ignored);
  }
}

UnfinishedFolder::~UnfinishedFolder() {
  std::error_code ignored;
  fs::remove_all(run_.folder(), ignored);  // nothing is there behind finish()
}

void UnfinishedFolder::finish() {
  std::error_code problem;
  run_.check_held();
  lock_.reset();  // and with it the lease, where the disk lets it go
  for (const char* own : {"lease", "lock"}) {
    fs::remove(run_.folder() / own, problem);
    check(!problem, ExitCode::storage, "file",
          "'{}' cannot be made: {} in {} cannot be removed: {}", name_.string(), own,
          run_.folder().string(), problem.message());
  }
  bring_to_disk(run_.folder());
  fs::rename(run_.folder(), name_, problem);
  check(!problem, ExitCode::storage, "file", "'{}' cannot be made: {}", name_.string(),
        problem.message());
  bring_to_disk(name_.parent_path());
}

}  // namespace switchyard
