#include "core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/error.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

std::error_code last_error() { return {errno, std::generic_category()}; }

std::error_code fill(Descriptor& open, std::string_view text, Durability durability) {
  const auto bytes = std::as_bytes(std::span(text));
  if (!pwrite_all(open, 0, bytes)) return last_error();
  if (durability == Durability::on_disk && fsync(open.number()) != 0) return last_error();
  return open.close() ? std::error_code() : last_error();
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    number_ = std::exchange(other.number_, -1);
  }
  return *this;
}

bool Descriptor::close() { return number_ < 0 || ::close(std::exchange(number_, -1)) == 0; }

bool is_named(const Descriptor& open, const fs::path& file) {
  struct stat mine {
  }, there{};
  return fstat(open.number(), &mine) == 0 && stat(file.c_str(), &there) == 0 &&
         mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

bool pwrite_all(const Descriptor& open, int64_t position, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(open.number(), bytes.data(), bytes.size(), position);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
    position += written;
  }
  return true;
}

int64_t pread_all(const Descriptor& open, int64_t position, std::span<std::byte> bytes) {
  int64_t total = 0;
  while (!bytes.empty()) {
    const ssize_t got = pread(open.number(), bytes.data(), bytes.size(), position + total);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    bytes = bytes.subspan(static_cast<size_t>(got));
    total += got;
  }
  return total;
}

fs::path temporary_of(const fs::path& file) { return file.string() + ".tmp"; }

std::error_code write_whole(const fs::path& file, std::string_view text, Durability durability) {
  Descriptor open(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!open) return last_error();
  const std::error_code problem = fill(open, text, durability);
  std::error_code ignored;
  if (problem) fs::remove(file, ignored);
  return problem;
}

std::error_code sync_folder(const fs::path& folder) {
  const char* name = folder.empty() ? "." : folder.c_str();
  const Descriptor open(::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!open) return last_error();
  // Some network file systems have no fsync of folders and say EINVAL.
  return fsync(open.number()) == 0 || errno == EINVAL ? std::error_code() : last_error();
}

void write_file_atomically(const fs::path& file, std::string_view text, std::string_view where) {
  const fs::path temporary = temporary_of(file);
  std::error_code problem = write_whole(temporary, text, Durability::on_disk);
  check(!problem, ExitCode::storage, where, "{} cannot be written: {}", temporary.string(),
        problem.message());
  fs::rename(temporary, file, problem);
  std::error_code ignored;
  if (problem) fs::remove(temporary, ignored);
  check(!problem, ExitCode::storage, where, "{} cannot be renamed to {}: {}", temporary.string(),
        file.string(), problem.message());
  problem = sync_folder(file.parent_path());
  const bool synced = !problem || problem == std::errc::permission_denied;  // writable, unreadable
  check(synced, ExitCode::storage, where, "{} cannot be brought to the disk: {}", file.string(),
        problem.message());
}

std::string read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  check(stream.good(), "file", "{} cannot be read: {}", file.string(), std::strerror(errno));
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

namespace {

// What is in a folder is on the disk when its own name is, too.
std::error_code make_folders(const fs::path& folder) {
  const auto missing = missing_folders(folder);
  std::error_code problem;
  fs::create_directories(folder, problem);
  for (const fs::path& made : missing) {
    if (problem) break;
    problem = sync_folder(made.parent_path());
    if (problem == std::errc::permission_denied) problem.clear();  // writable, unreadable
  }
  return problem;
}

}  // namespace

std::vector<fs::path> missing_folders(const fs::path& folder) {
  std::vector<fs::path> missing;
  std::error_code ignored;
  fs::path at = folder.has_filename() ? folder : folder.parent_path();
  for (; !at.empty() && !fs::exists(at, ignored); at = at.parent_path()) missing.push_back(at);
  return missing;
}

void make_folder(const fs::path& folder, std::string_view where) {
  std::error_code ignored;
  const bool dangles = fs::is_symlink(folder, ignored) && !fs::exists(folder, ignored);
  check(!dangles, ExitCode::storage, where,
        "{} is a link to {}, which is not there; is its file system?", folder.string(),
        fs::read_symlink(folder, ignored).string());
  const std::error_code problem = make_folders(folder);
  check(!problem && fs::is_directory(folder), ExitCode::storage, where,
        "the folder '{}' cannot be made: {}", folder.string(),
        problem ? problem.message() : "a file has its name");
}

}  // namespace switchyard
