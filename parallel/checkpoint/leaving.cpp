#include "parallel/checkpoint/leaving.h"

#include <fcntl.h>

#include <system_error>

#include "core/error.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/files.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr const char* look_prefix = ".look-";

fs::path master_of(const fs::path& checkpoint) { return checkpoint / master_name; }
fs::path whole_of(const fs::path& checkpoint) {
  return checkpoint / fmt::format("{}.whole", master_name);
}

bool is_file(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

// False: it is not there.
bool rename_if_there(const fs::path& from, const fs::path& to) {
  std::error_code problem;
  fs::rename(from, to, problem);
  if (problem == std::errc::no_such_file_or_directory) return false;
  check(!problem, "checkpoint", "{} cannot be renamed to {}: {}", from.string(), to.string(),
        problem.message());
  sync_names(to.parent_path());
  return true;
}

}  // namespace

bool let_leave(const fs::path& checkpoint) {
  return rename_if_there(master_of(checkpoint), checkpoint / leaving_name);
}

bool is_leaving(const fs::path& checkpoint) { return is_file(checkpoint / leaving_name); }

void bring_back(const fs::path& checkpoint) {
  rename_if_there(checkpoint / leaving_name, master_of(checkpoint));
}

void let_moments_leave(const fs::path& checkpoint, const std::function<void()>& replace_master) {
  const fs::path whole = whole_of(checkpoint);
  std::error_code problem;
  fs::remove(whole, problem);  // of one that was killed before it replaced the master
  fs::create_hard_link(master_of(checkpoint), whole, problem);
  if (problem) {  // the file system has none
    const fs::path copy = temporary_of(whole);
    fs::copy_file(master_of(checkpoint), copy, fs::copy_options::overwrite_existing, problem);
    check(!problem, "checkpoint", "{} cannot be written: {}", copy.string(), problem.message());
    rename_if_there(copy, whole);
  }
  replace_master();
}

bool are_moments_leaving(const fs::path& checkpoint) { return is_file(whole_of(checkpoint)); }

void bring_moments_back(const fs::path& checkpoint) {
  std::error_code ignored;  // two links of one file: renaming does nothing
  if (rename_if_there(whole_of(checkpoint), master_of(checkpoint)))
    fs::remove(whole_of(checkpoint), ignored);
}

void forget_leaving_moments(const fs::path& checkpoint) {
  std::error_code problem;
  if (!fs::remove(whole_of(checkpoint), problem) && !problem) return;
  check(!problem, "checkpoint", "{} cannot be removed: {}", whole_of(checkpoint).string(),
        problem.message());
  sync_names(checkpoint);
}

void see_anew(const fs::path& folder) {
  const fs::path file = folder / fmt::format("{}{}", look_prefix, random_checkpoint_id());
  Descriptor open(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!open) return;  // it may only be read, or is not there
  open.close();
  remove_looks(folder);
}

void remove_looks(const fs::path& folder) {
  std::error_code problem, ignored;
  for (fs::directory_iterator entry(folder, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    if (entry->path().filename().string().starts_with(look_prefix))
      fs::remove(entry->path(), ignored);
  }
}

}  // namespace switchyard
