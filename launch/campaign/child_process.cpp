#include "launch/campaign/child_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"

namespace switchyard {

namespace {

std::vector<std::string> environment_with(const std::map<std::string, std::string>& given) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!given.contains(std::string(text.substr(0, text.find('='))))) all.emplace_back(text);
  }
  for (const auto& [name, value] : given) all.push_back(fmt::format("{}={}", name, value));
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Between fork and exec: no memory may be asked for, and signals are held back, so that none is
// taken by a handler of the parent's.
class Start {
 public:
  explicit Start(const ChildCommand& command)
      : words_(command.words),
        environment_(environment_with(command.environment)),
        arguments_(pointers_to(words_)),
        variables_(pointers_to(environment_)),
        out_(command.out),
        error_(command.error) {}

  [[noreturn]] void become(int report) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() != parent_) _exit(1);  // it has died before that line
    for (const int signal : {SIGUSR1, SIGTERM, SIGINT, SIGQUIT, SIGPIPE, SIGCHLD})
      ::signal(signal, SIG_DFL);
    const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const bool placed = input >= 0 && dup2(input, STDIN_FILENO) >= 0 &&
                        dup2(out_, STDOUT_FILENO) >= 0 && dup2(error_, STDERR_FILENO) >= 0;
    constexpr unsigned first = STDERR_FILENO + 1;
    close_range(first, ~0U, static_cast<int>(CLOSE_RANGE_CLOEXEC));
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, nullptr);
    if (placed) execve(arguments_[0], arguments_.data(), variables_.data());
    const int problem = errno;
    [[maybe_unused]] const auto ignored = write(report, &problem, sizeof problem);
    _exit(1);
  }

 private:
  const pid_t parent_ = getpid();
  std::vector<std::string> words_, environment_;
  std::vector<char*> arguments_, variables_;
  int out_, error_;
};

// The child's errno where it could not become the program; 0 once it has.
int reported(const Descriptor& pipe) {
  int problem = 0;
  ssize_t got = 0;
  do {
    got = read(pipe.number(), &problem, sizeof problem);
  } while (got < 0 && errno == EINTR);
  return got == sizeof problem ? problem : 0;
}

// None is born while it is looked at, as it is halted before.
void kill_tree(pid_t root) {
  kill(root, SIGSTOP);
  std::error_code ignored;
  const auto threads = "/proc/" + std::to_string(root) + "/task";
  for (const auto& thread : std::filesystem::directory_iterator(threads, ignored)) {
    std::ifstream children(thread.path() / "children");
    for (pid_t child = 0; children >> child;) kill_tree(child);
  }
  kill(root, SIGKILL);
}

}  // namespace

ChildProcess::ChildProcess(const ChildCommand& command) {
  const std::string& program = command.words.at(0);
  std::array<int, 2> ends{};
  const bool piped = pipe2(ends.data(), O_CLOEXEC) == 0;
  check(piped, ExitCode::other, "job", "{} cannot be started: {}", program, std::strerror(errno));
  const Descriptor reader(ends[0]);
  Descriptor writer(ends[1]);
  Start start(command);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_ = fork();
  if (pid_ == 0) start.become(writer.number());
  int problem = pid_ < 0 ? errno : 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  writer.close();
  if (pid_ > 0) problem = reported(reader);
  if (pid_ > 0 && problem == 0) {
    watched_ = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));  // closes on exec
    if (!watched_) problem = errno;
  }
  if (problem == 0) return;
  if (pid_ > 0) {
    kill_all();
    waitpid(pid_, nullptr, 0);
  }
  fail(ExitCode::other, "job", "{} cannot be started: {}", program, std::strerror(problem));
}

ChildProcess::~ChildProcess() {
  if (status()) return;
  kill_all();
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ChildProcess::send(int signal) {
  if (!status()) kill(pid_, signal);
}

void ChildProcess::kill_all() {
  kill_tree(pid_);
  kill(-pid_, SIGKILL);
}

std::optional<int> ChildProcess::status() {
  int state = 0;
  if (!status_ && waitpid(pid_, &state, WNOHANG) == pid_) status_ = state;
  return status_;
}

}  // namespace switchyard
