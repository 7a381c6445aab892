#include "parallel/checkpoint/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/logging.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

void require_posix(bool ok, const char* action, const fs::path& path) {
  const int number = errno;
  check(ok, "checkpoint", "cannot {} {}: {}", action, path.string(), std::strerror(number));
}

void make_folder(const fs::path& folder) {
  require_posix(mkdir(folder.c_str(), 0777) == 0 || errno == EEXIST, "make the folder", folder);
}

}  // namespace

std::string shard_name(int rank) { return fmt::format("rank-{:05}.h5", rank); }

fs::path temporary_of(const fs::path& file) { return file.string() + ".tmp"; }

void sync_folder(const fs::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  require_posix(descriptor >= 0, "open the folder", folder);
  // Some network file systems have no fsync of folders and say EINVAL.
  const bool ok = fsync(descriptor) == 0 || errno == EINVAL;
  const int number = errno;
  close(descriptor);
  errno = number;
  require_posix(ok, "write to the disk the folder", folder);
}

void publish_file(const fs::path& temporary, const fs::path& final_name) {
  require_posix(rename(temporary.c_str(), final_name.c_str()) == 0, "give its final name to",
                temporary);
  sync_folder(final_name.parent_path());
}

void prepare_checkpoint_folder(const fs::path& folder) {
  check(!fs::exists(folder / master_name), "checkpoint",
        "{} is complete already; a complete checkpoint is never written again", folder.string());
  discard_checkpoint_folder(folder);
  std::error_code failure;
  fs::create_directories(folder.parent_path(), failure);
  check(!failure, "checkpoint", "cannot make the folder {}: {}", folder.parent_path().string(),
        failure.message());
  make_folder(folder);
  make_folder(folder / shards_name);
  sync_folder(folder);
  sync_folder(folder.parent_path());
}

void discard_checkpoint_folder(const fs::path& folder) {
  const fs::path master = folder / master_name;
  if (unlink(master.c_str()) == 0) {
    sync_folder(folder);
  } else {
    require_posix(errno == ENOENT || errno == ENOTDIR, "remove", master);
  }
  std::error_code failure;
  fs::remove_all(folder, failure);
  check(!failure, "checkpoint", "cannot remove {}: {}", folder.string(), failure.message());
}

void discard_incomplete(const fs::path& folder) {
  try {
    if (fs::exists(folder / master_name)) return;
    discard_checkpoint_folder(folder);
  } catch (const Error& error) {
    log::warning("an incomplete checkpoint stays behind: {}", error.what());
  }
}

ReadableFile::ReadableFile(fs::path path)
    : path_(std::move(path)), descriptor_(open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  require_posix(descriptor_ >= 0, "open", path_);
}

ReadableFile::~ReadableFile() { close(descriptor_); }

int64_t ReadableFile::bytes() const {
  struct stat status {};
  require_posix(fstat(descriptor_, &status) == 0, "read the size of", path_);
  return status.st_size;
}

void ReadableFile::read(int64_t position, int64_t bytes, void* out) const {
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = pread(descriptor_, to, static_cast<size_t>(bytes), position);
    if (got < 0 && errno == EINTR) continue;
    require_posix(got >= 0, "read", path_);
    check(got > 0, "checkpoint", "{} ends at byte {}; {} more were expected", path_.string(),
          position, bytes);
    to += got;
    position += got;
    bytes -= got;
  }
}

}  // namespace switchyard
