#include "parallel/checkpoint/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/logging.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

void require(bool ok, const char* action, const fs::path& path, int number = errno) {
  check(ok, "checkpoint", "cannot {} {}: {}", action, path.string(), std::strerror(number));
}

void require(const std::error_code& problem, const char* action, const fs::path& path) {
  require(!problem, action, path, problem.value());
}

void make(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  require(failure, "make the folder", folder);
}

}  // namespace

std::string shard_name(int rank, const std::string& part) {
  return fmt::format("rank-{:05}{}{}.h5", rank, part.empty() ? "" : ".", part);
}

void sync_names(const fs::path& folder) {
  require(sync_folder(folder), "write to the disk the folder", folder);
}

void publish_file(const fs::path& temporary, const fs::path& final_name) {
  require(rename(temporary.c_str(), final_name.c_str()) == 0, "give its final name to", temporary);
  sync_names(final_name.parent_path());
}

void prepare_checkpoint_folder(const fs::path& folder) {
  check(!fs::exists(folder / master_name), "checkpoint",
        "{} is complete already; a complete checkpoint is never written again", folder.string());
  discard_checkpoint_folder(folder);
  make(folder / shards_name);
  sync_names(folder);
  sync_names(folder.parent_path());
}

void discard_checkpoint_folder(const fs::path& folder) {
  for (const char* name : {master_name, leaving_name}) {
    const fs::path master = folder / name;
    if (unlink(master.c_str()) == 0) {
      sync_names(folder);
    } else {
      require(errno == ENOENT || errno == ENOTDIR, "remove", master);
    }
  }
  std::error_code failure;
  fs::remove_all(folder, failure);
  require(failure, "remove", folder);
}

void discard_incomplete(const fs::path& folder) {
  try {
    if (fs::exists(folder / master_name)) return;
    discard_checkpoint_folder(folder);
  } catch (const std::exception& error) {
    log::warning("an incomplete checkpoint stays behind: {}", error.what());
  }
}

ReadableFile::ReadableFile(fs::path path)
    : path_(std::move(path)), descriptor_(open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  require(static_cast<bool>(descriptor_), "open", path_);
}

int64_t ReadableFile::bytes() const {
  struct stat status {};
  require(fstat(descriptor_.number(), &status) == 0, "read the size of", path_);
  return status.st_size;
}

void ReadableFile::read(int64_t position, int64_t bytes, void* out) const {
  const std::span<std::byte> all(static_cast<std::byte*>(out), static_cast<size_t>(bytes));
  const int64_t got = pread_all(descriptor_, position, all);
  require(got >= 0, "read", path_);
  check(got == bytes, "checkpoint", "{} ends at byte {}; {} more were expected", path_.string(),
        position + got, bytes - got);
}

}  // namespace switchyard
