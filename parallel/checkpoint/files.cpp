#include "parallel/checkpoint/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/logging.h"
#include "parallel/checkpoint/direct_file.h"
#include "parallel/checkpoint/huge_page.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

void require(bool ok, const char* action, const fs::path& path) {
  check(ok, "checkpoint", "cannot {} {}: {}", action, path.string(), std::strerror(errno));
}

void require(const std::error_code& problem, const char* action, const fs::path& path) {
  check(!problem, "checkpoint", "cannot {} {}: {}", action, path.string(),
        std::strerror(problem.value()));
}

// Less is not worth a way of its own to the disk.
constexpr int64_t least_direct = int64_t{64} << 10;
// The least that disks transfer; where one has larger blocks it refuses, and bytes are copied.
constexpr int64_t sector = 512;

uint64_t next_number() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

bool in_sectors(int64_t position, int64_t bytes, const std::byte* out) {
  return position % sector == 0 && bytes % sector == 0 &&
         reinterpret_cast<uintptr_t>(out) % sector == 0;
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
  make_folder(folder / shards_name, "checkpoint");
  const fs::path above = folder.parent_path();  // one that was killed may have made it
  for (const fs::path& each : {folder, above, above.parent_path()}) sync_names(each);
}

void discard_checkpoint_folder(const fs::path& folder) {
  bool had_master = false;
  for (const char* name : {master_name, leaving_name}) {
    const fs::path master = folder / name;
    const bool removed = unlink(master.c_str()) == 0;
    require(removed || errno == ENOENT || errno == ENOTDIR, "remove", master);
    had_master |= removed;
  }
  // Where there is none it may have been taken away behind an fsync that failed: tried once more.
  const std::error_code unsynced = sync_folder(folder);
  if (had_master) require(unsynced, "write to the disk the folder", folder);
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
    : path_(std::move(path)),
      number_(next_number()),
      descriptor_(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)),
      direct_(open(path_.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK)) {
  require(static_cast<bool>(descriptor_), "open", path_);
  struct stat status {};  // a pipe would be waited for
  require(fstat(descriptor_.number(), &status) == 0, "read the kind of", path_);
  check(S_ISREG(status.st_mode), "checkpoint", "{} is no file with data", path_.string());
}

int64_t ReadableFile::bytes() const {
  struct stat status {};
  require(fstat(descriptor_.number(), &status) == 0, "read the size of", path_);
  return status.st_size;
}

void ReadableFile::read(int64_t position, int64_t bytes, void* out, ReadWay way) const {
  const std::span<std::byte> all(static_cast<std::byte*>(out), static_cast<size_t>(bytes));
  int64_t got = 0;
  if (way == ReadWay::direct && direct_ && bytes >= least_direct) {
    got = read_direct(position, bytes, all.data());
  }
  if (got < bytes) {
    const int64_t rest =
        pread_all(descriptor_, position + got, all.subspan(static_cast<size_t>(got)));
    require(rest >= 0, "read", path_);
    got += rest;
  }
  check(got == bytes, "checkpoint", "{} ends at byte {}; {} more were expected", path_.string(),
        position + got, bytes - got);
}

// How many bytes were read; fewer where something is in the way, which reading through the cache
// then tells. Where file and memory lie alike the disk writes to `out`; otherwise whole blocks come
// into memory that begins with one, and are copied.
int64_t ReadableFile::read_direct(int64_t position, int64_t bytes, std::byte* out) const {
  thread_local const HugePage page;
  const int64_t block = DirectFile::block_bytes();
  int64_t done = 0;
  if (in_sectors(position, bytes, out)) {
    const auto got = pread(direct_.number(), out, static_cast<size_t>(bytes), position);
    done = std::max<int64_t>(0, got);
  }
  while (page && done < bytes) {
    const int64_t before = (position + done) % block;
    const int64_t part = std::min(bytes - done, HugePage::bytes - before);
    const auto blocks = static_cast<size_t>((before + part + block - 1) / block * block);
    const ssize_t got = pread(direct_.number(), page.get(), blocks, position + done - before);
    if (got <= before) break;
    const int64_t useful = std::min<int64_t>(part, got - before);
    std::memcpy(out + done, page.get() + before, static_cast<size_t>(useful));
    done += useful;
  }
  return done;
}

}  // namespace switchyard
