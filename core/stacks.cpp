#include "core/stacks.h"

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace switchyard {

namespace {

constexpr int most_frames = 40, most_threads = 64;

// A thread is asked for its stack by this signal, and leaves it here.
struct Answer {
  std::array<void*, most_frames> frames{};
  int count = 0;
  std::atomic<int> of{0};  // the thread that is asked; -1 when it has answered
};
Answer answer;

int signal_of_stacks() { return SIGRTMIN + 7; }

void leave_stack(int) {
  const int before = errno;
  if (answer.of.load() == static_cast<int>(::syscall(SYS_gettid))) {
    answer.count = ::backtrace(answer.frames.data(), most_frames);
    answer.of.store(-1);
  }
  errno = before;
}

bool ask(int thread) {
  answer.of.store(thread);
  if (::syscall(SYS_tgkill, ::getpid(), thread, signal_of_stacks()) != 0) return false;
  const timespec moment{.tv_sec = 0, .tv_nsec = 1'000'000};
  for (int i = 0; i < 200 && answer.of.load() != -1; ++i) ::nanosleep(&moment, nullptr);
  int expected = thread;  // one that answers later finds that nobody asks any more
  return !answer.of.compare_exchange_strong(expected, 0);
}

// /proc/self/task/THREAD/NAME, its first line.
void write_file_of(int descriptor, const char* thread, const char* name) {
  std::array<char, 64> path{};
  size_t at = 0;
  for (const char* part : {"/proc/self/task/", thread, "/", name})
    for (; *part != 0 && at + 1 < path.size(); ++part) path[at++] = *part;
  const int file = ::open(path.data(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  std::array<char, 128> text{};
  const ssize_t got = ::read(file, text.data(), text.size());
  ::close(file);
  const std::string_view read(text.data(), got < 0 ? 0 : static_cast<size_t>(got));
  write_text(descriptor, read.substr(0, read.find('\n')));
}

void write_stack(int descriptor, const char* name, int thread) {
  write_text(descriptor, "\nthread ");
  write_text(descriptor, name);
  write_text(descriptor, " (");
  write_file_of(descriptor, name, "comm");
  write_text(descriptor, "), ");
  const bool mine = thread == static_cast<int>(::syscall(SYS_gettid));
  if (mine) {
    answer.count = ::backtrace(answer.frames.data(), most_frames);
  } else if (!ask(thread)) {
    write_text(descriptor, "gives no answer; in the kernel it is in ");
    write_file_of(descriptor, name, "wchan");
    return write_text(descriptor, "\n");
  }
  write_text(descriptor, mine ? "which writes this:\n" : "stack:\n");
  ::backtrace_symbols_fd(answer.frames.data(), answer.count, descriptor);
}

// What readdir() wants to be told is allocated; this is the kernel's own record.
struct Entry {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[1];
};

}  // namespace

void write_text(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

void write_number(int descriptor, long number) {
  std::array<char, 24> digits{};
  size_t at = digits.size();
  auto rest = static_cast<unsigned long>(number < 0 ? -number : number);
  do digits[--at] = static_cast<char>('0' + rest % 10);
  while ((rest /= 10) > 0);
  if (number < 0) digits[--at] = '-';
  write_text(descriptor, {digits.data() + at, digits.size() - at});
}

void prepare_stacks() {
  void* frame = nullptr;
  ::backtrace(&frame, 1);  // loads the unwinder
  struct sigaction action {};
  action.sa_handler = leave_stack;
  action.sa_flags = SA_RESTART;
  ::sigaction(signal_of_stacks(), &action, nullptr);
}

void write_stacks(int descriptor) {
  const int tasks = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tasks < 0) return;
  alignas(Entry) std::array<char, 4096> bytes{};
  int written = 0;
  for (long got = 0; (got = ::syscall(SYS_getdents64, tasks, bytes.data(), bytes.size())) > 0;) {
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const Entry*>(bytes.data() + at);
      at += entry->length;
      const int thread = std::atoi(entry->name);
      if (thread > 0 && ++written <= most_threads) write_stack(descriptor, entry->name, thread);
    }
  }
  ::close(tasks);
}

}  // namespace switchyard
