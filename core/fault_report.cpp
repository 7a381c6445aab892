#include "core/fault_report.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

#include "core/files.h"
#include "core/stacks.h"

namespace switchyard {

namespace {

namespace fs = std::filesystem;

// Text that a handler may read: it stays where it is.
class FixedText {
 public:
  bool set(const std::string& text) {
    if (text.size() >= characters_.size()) return false;
    std::memcpy(characters_.data(), text.c_str(), text.size() + 1);
    return true;
  }
  const char* c_str() const { return characters_.data(); }

 private:
  std::array<char, 4096> characters_{};
};

struct Reports {
  FixedText path, folder, file, who, label;
  std::atomic<bool> known = false, asked = false, written = false, there = false, stuck = false;
};
Reports reports;

struct FatalSignal {
  int number;
  const char* name;
};
constexpr std::array<FatalSignal, 5> fatal_signals{{{SIGSEGV, "SIGSEGV"},
                                                    {SIGBUS, "SIGBUS"},
                                                    {SIGABRT, "SIGABRT"},
                                                    {SIGFPE, "SIGFPE"},
                                                    {SIGILL, "SIGILL"}}};

// Open for what went wrong; -1 where none is to be written. Safe in a handler.
int begin_report() {
  if (!reports.known || reports.written.exchange(true)) return -1;
  if (::access(reports.path.c_str(), F_OK) != 0) return -1;
  ::mkdir(reports.folder.c_str(), 0777);
  const int file = ::open(reports.file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return -1;
  reports.there = true;
  write_text(file, reports.who.c_str());
  write_text(file, "\n");
  return file;
}

void end_report(int file) {
  write_stacks(file);
  ::close(file);
}

void on_fatal_signal(int number, siginfo_t* info, void*) {
  static std::atomic<long> met = 0;
  const long mine = ::syscall(SYS_gettid);
  long nobody = 0;
  if (!met.compare_exchange_strong(nobody, mine)) {
    if (nobody != mine) ::sleep(5);  // another thread is writing, and ends the process
  } else {
    ::alarm(5);  // should this hang, the process still ends
    const int file = begin_report();
    for (const int to : {STDERR_FILENO, file}) {
      if (to < 0) continue;
      write_text(to, to == STDERR_FILENO ? "switchyard: " : "");
      write_text(to, reports.label.c_str());
      write_text(to, " ends by ");
      for (const FatalSignal& each : fatal_signals)
        if (each.number == number) write_text(to, each.name);
      if (info->si_code <= 0 && info->si_pid != ::getpid()) {
        write_text(to, " from process ");
        write_number(to, info->si_pid);
      }
      if (to == STDERR_FILENO && file >= 0) {
        write_text(to, "; stacks in ");
        write_text(to, reports.folder.c_str());
      }
      write_text(to, "\n");
    }
    if (file >= 0) end_report(file);
  }
  ::signal(number, SIG_DFL);
  ::raise(number);
}

void tell_launcher(const fs::path& folder, const std::string& start) {
  const char* note = std::getenv("SWITCHYARD_FAULTS_NOTE");
  if (note == nullptr) return;
  // All ranks write the same, in place: the note of a launcher is a file without a name.
  const std::string text = fmt::format("{}\n{}\n", folder.string(), start);
  const Descriptor open(::open(note, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  if (open) pwrite_all(open, 0, std::as_bytes(std::span(text)));  // else the launcher says less
}

}  // namespace

void set_fault_place(const FaultPlace& place) {
  reports.known = false;
  const fs::path run = fs::absolute(place.run), folder = run / "faults";
  const std::string name = fmt::format("{}-rank-{}.txt", place.start, place.rank);
  const bool fits = reports.path.set((run / "path.json").string()) &&
                    reports.folder.set(folder.string()) &&
                    reports.file.set((folder / name).string()) && reports.who.set(place.who);
  if (!fits) return;  // longer than any path that can be opened
  prepare_stacks();
  reports.asked = reports.written = reports.there = reports.stuck = false;
  reports.known = true;
  tell_launcher(folder, place.start);
}

namespace {

// What the thread that writes shares with the one that waits for it, which may give it up.
struct Writing {
  std::mutex mutex;
  std::condition_variable changed;
  bool begun = false, ended = false;

  void set(bool Writing::*part) {
    const std::lock_guard lock(mutex);
    this->*part = true;
    changed.notify_all();
  }
};

void write_report(std::string_view what, Writing& writing) {
  const int file = begin_report();
  writing.set(&Writing::begun);
  if (file >= 0) {
    write_text(file, what);
    write_text(file, "\n");
    end_report(file);
  }
  writing.set(&Writing::ended);
}

// Signals are the other threads'.
void start_writing(std::string what, const std::shared_ptr<Writing>& writing) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread([what = std::move(what), writing] { write_report(what, *writing); }).detach();
  } catch (const std::system_error&) {  // no threads are left
    write_report(what, *writing);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

std::string write_fault_report(std::string_view what) {
  constexpr auto to_open = std::chrono::seconds(3), to_write = std::chrono::seconds(15);
  if (!reports.known) return "";
  if (!reports.asked.exchange(true)) {
    const auto writing = std::make_shared<Writing>();
    start_writing(std::string(what), writing);
    std::unique_lock lock(writing->mutex);
    const bool ended = writing->changed.wait_for(lock, to_open, [&] { return writing->begun; }) &&
                       writing->changed.wait_for(lock, to_write, [&] { return writing->ended; });
    reports.stuck = !ended;
  }
  if (reports.stuck)
    return fmt::format("; stacks cannot be written: {} does not answer", reports.folder.c_str());
  return reports.there ? fmt::format("; stacks in {}", reports.folder.c_str()) : std::string();
}

void report_fatal_signals(std::string_view label) {
  reports.label.set(std::string(label.substr(0, 200)));
  prepare_stacks();
  for (const FatalSignal& each : fatal_signals) {
    struct sigaction action {};
    action.sa_sigaction = on_fatal_signal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    ::sigaction(each.number, &action, nullptr);
  }
}

void keep_newest_faults(const fs::path& run, size_t starts) {
  std::set<std::string> stamps;
  std::error_code problem;
  const auto stamp_of = [](const fs::path& file) {
    const std::string name = file.filename().string();
    return name.substr(0, name.find('-'));
  };
  std::vector<fs::path> files;
  for (fs::directory_iterator it(run / "faults", problem), end; !problem && it != end;
       it.increment(problem)) {
    if (it->path().extension() != ".txt") continue;
    files.push_back(it->path());
    stamps.insert(stamp_of(it->path()));
  }
  while (stamps.size() > starts) {
    for (const auto& file : files)
      if (stamp_of(file) == *stamps.begin()) fs::remove(file, problem);
    stamps.erase(stamps.begin());
  }
}

}  // namespace switchyard
