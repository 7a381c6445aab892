#include "parallel/comm/system_call.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/files.h"
#include "core/text.h"

namespace switchyard {

namespace {

// A call whose argument `at` is an open file, or the address of a name.
struct FileCall {
  long number;
  const char* words;
  size_t at;
  bool is_name;
};

constexpr FileCall file_calls[] = {
    {SYS_read, "read of", 0, false},
    {SYS_pread64, "read of", 0, false},
    {SYS_readv, "read of", 0, false},
    {SYS_write, "write to", 0, false},
    {SYS_pwrite64, "write to", 0, false},
    {SYS_writev, "write to", 0, false},
    {SYS_pwritev, "write to", 0, false},
    {SYS_fsync, "fsync of", 0, false},
    {SYS_fdatasync, "fsync of", 0, false},
    {SYS_close, "close of", 0, false},
    {SYS_fstat, "stat of", 0, false},
    {SYS_flock, "flock of", 0, false},
    {SYS_ftruncate, "truncation of", 0, false},
    {SYS_fallocate, "allocation of", 0, false},
    {SYS_getdents64, "list of", 0, false},
    {SYS_openat, "open of", 1, true},
    {SYS_newfstatat, "stat of", 1, true},
    {SYS_statx, "stat of", 1, true},
    {SYS_faccessat, "access to", 1, true},
    {SYS_mkdirat, "mkdir of", 1, true},
    {SYS_unlinkat, "removal of", 1, true},
    {SYS_renameat2, "rename of", 1, true},
#ifdef SYS_renameat
    {SYS_renameat, "rename of", 1, true},
#endif
#ifdef SYS_open  // x86-64 alone has these
    {SYS_open, "open of", 0, true},
    {SYS_stat, "stat of", 0, true},
    {SYS_lstat, "stat of", 0, true},
    {SYS_access, "access to", 0, true},
    {SYS_mkdir, "mkdir of", 0, true},
    {SYS_rmdir, "removal of", 0, true},
    {SYS_unlink, "removal of", 0, true},
    {SYS_rename, "rename of", 0, true},
#endif
};

// By the file of this process's memory: where the address is no longer one, nothing is read.
std::string text_at(uint64_t address) {
  std::array<char, 512> text{};
  const Descriptor memory(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  const auto place = static_cast<off_t>(address);
  if (!memory || ::pread(memory.number(), text.data(), text.size() - 1, place) <= 0) return "";
  return text.data();
}

// Sockets and pipes have no path.
std::string name_of_open(uint64_t number) {
  std::array<char, 512> text{};
  const std::string link = fmt::format("/proc/self/fd/{}", number);
  const ssize_t length = ::readlink(link.c_str(), text.data(), text.size());
  const std::string name(text.data(), static_cast<size_t>(std::max<ssize_t>(0, length)));
  return name.starts_with('/') ? name : "";
}

std::string file_call_of(int64_t thread) {
  std::ifstream file(fmt::format("/proc/self/task/{}/syscall", thread));
  long number = -1;
  std::array<uint64_t, 2> arguments{};
  if (!(file >> number)) return "";  // "running"
  for (uint64_t& argument : arguments) {
    std::string word;
    file >> word;
    argument = std::strtoull(word.c_str(), nullptr, 16);
  }
  const auto* call = std::ranges::find(file_calls, number, &FileCall::number);
  if (call == std::end(file_calls)) return "";
  const uint64_t argument = arguments.at(call->at);
  const std::string name = call->is_name ? text_at(argument) : name_of_open(argument);
  return name.empty() ? "" : fmt::format("{} {}", call->words, name);
}

}  // namespace

std::string file_call_of_process() {
  const int64_t first = ::getpid(), own = ::gettid();
  std::string found = file_call_of(first);
  std::error_code ignored;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", ignored)) {
    if (!found.empty()) break;
    const auto number = parse_number<int64_t>(thread.path().filename().string());
    if (number && *number != first && *number != own) found = file_call_of(*number);
  }
  return found;
}

}  // namespace switchyard
