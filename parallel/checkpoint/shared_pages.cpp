#include "parallel/checkpoint/shared_pages.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>
#include <utility>

namespace switchyard {

namespace {

constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

void SharedPages::Unmap::operator()(std::byte* memory) const { munmap(memory, bytes); }

SharedPages::SharedPages(Descriptor file, int64_t bytes)
    : file_(std::move(file)), memory_(nullptr, Unmap{0}), bytes_(bytes) {}

std::optional<SharedPages> SharedPages::mapped(Descriptor file, int64_t bytes) {
  SharedPages pages(std::move(file), bytes);
  const auto size = static_cast<size_t>(bytes);
  void* const found =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, pages.file_.number(), 0);
  if (found == MAP_FAILED) return std::nullopt;
  madvise(found, size, MADV_HUGEPAGE);
  pages.memory_ = std::unique_ptr<std::byte, Unmap>(static_cast<std::byte*>(found), Unmap{size});
  return pages;
}

// All of it is taken now, as a lack that shows later would be a signal.
std::optional<SharedPages> SharedPages::make(int64_t bytes) {
  Descriptor file(memfd_create("switchyard-reads", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ftruncate(file.number(), bytes) != 0) return std::nullopt;
  if (fallocate(file.number(), 0, 0, bytes) != 0) return std::nullopt;
  if (fcntl(file.number(), F_ADD_SEALS, seals) != 0) return std::nullopt;
  return mapped(std::move(file), bytes);
}

std::string SharedPages::invitation() const {
  struct stat status {};
  fstat(file_.number(), &status);
  return fmt::format("{} {} {} {} {}", getpid(), file_.number(), bytes_, status.st_dev,
                     status.st_ino);
}

// In another name space of processes the number may be that of anybody.
std::optional<SharedPages> SharedPages::join(const std::string& invitation) {
  std::istringstream words(invitation);
  int64_t process = 0, number = 0, bytes = 0;
  uint64_t device = 0, inode = 0;
  if (!(words >> process >> number >> bytes >> device >> inode)) return std::nullopt;
  const auto path = fmt::format("/proc/{}/fd/{}", process, number);
  Descriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!file || fstat(file.number(), &status) != 0) return std::nullopt;
  const bool is_it = S_ISREG(status.st_mode) && status.st_size == bytes &&
                     status.st_dev == device && status.st_ino == inode &&
                     (fcntl(file.number(), F_GET_SEALS) & seals) == seals;
  if (!is_it) return std::nullopt;
  return mapped(std::move(file), bytes);
}

}  // namespace switchyard
