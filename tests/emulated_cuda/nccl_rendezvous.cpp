#include "tests/emulated_cuda/nccl_rendezvous.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace switchyard::emulated {

namespace {

constexpr int64_t page = 4096;

int64_t pages(int64_t bytes) { return (bytes + page - 1) / page * page; }

int64_t begin_of_mailboxes(int64_t n) {
  return pages(n * static_cast<int64_t>(sizeof(Rendezvous::Rank)));
}
int64_t begin_of_slots(int64_t n) {
  return begin_of_mailboxes(n) + pages(n * n * static_cast<int64_t>(sizeof(Rendezvous::Mailbox)));
}
int64_t begin_of_letters(int64_t n) { return begin_of_slots(n) + n * Rendezvous::slot_bytes; }

}  // namespace

Rendezvous::Rendezvous(std::string name, int size, int rank, uint64_t gpu)
    : name_(std::move(name)), size_(size), rank_(rank) {
  const int64_t n = size;
  bytes_ = static_cast<size_t>(begin_of_letters(n) + n * n * mailbox_bytes);
  const int file = ::shm_open(name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(file >= 0, "emulated NCCL", "{}: {}", name_, std::strerror(errno));
  const bool sized = ::ftruncate(file, static_cast<off_t>(bytes_)) == 0;  // new bytes are zero
  void* memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  check(sized && memory != MAP_FAILED, "emulated NCCL", "{}: {}", name_, std::strerror(errno));
  memory_ = static_cast<std::byte*>(memory);
  of(rank).gpu = gpu;
  of(rank).process = ::getpid();
}

Rendezvous::~Rendezvous() {
  if (!complete_) ::shm_unlink(name_.c_str());
  ::munmap(memory_, bytes_);
}

// Once all have opened it, the name is needed no more.
bool Rendezvous::all_have_come() {
  if (complete_) return true;
  for (int r = 0; r < size_; ++r)
    if (of(r).process == 0) return false;
  complete_ = true;
  if (rank_ == 0) ::shm_unlink(name_.c_str());
  return true;
}

int Rendezvous::rank_of_same_gpu() const {
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && of(r).process != 0 && of(r).gpu == of(rank_).gpu) return r;
  return -1;
}

int Rendezvous::lost_rank() const {
  for (int r = 0; r < size_; ++r) {
    const int32_t process = of(r).process;
    if (process != 0 && of(r).closed == 0 && ::kill(process, 0) != 0 && errno == ESRCH) return r;
  }
  return -1;
}

bool Rendezvous::all_have_left() const {
  for (int r = 0; r < size_; ++r) {
    const int32_t process = of(r).process;
    const bool gone = process != 0 && ::kill(process, 0) != 0 && errno == ESRCH;
    if (!gone && of(r).closed == 0 && of(r).aborted == 0) return false;
  }
  return true;
}

Rendezvous::Rank& Rendezvous::of(int rank) const { return reinterpret_cast<Rank*>(memory_)[rank]; }

std::byte* Rendezvous::slot(int rank) const {
  return memory_ + begin_of_slots(size_) + rank * slot_bytes;
}

Rendezvous::Mailbox& Rendezvous::mailbox(int from, int to) const {
  auto* all = reinterpret_cast<Mailbox*>(memory_ + begin_of_mailboxes(size_));
  return all[from * size_ + to];
}

std::byte* Rendezvous::letter(int from, int to) const {
  return memory_ + begin_of_letters(size_) + (from * size_ + to) * mailbox_bytes;
}

}  // namespace switchyard::emulated
