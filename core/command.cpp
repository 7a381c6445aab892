#include "core/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>

#include "core/files.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  Descriptor reader, writer;
  Pipe() {
    std::array<int, 2> ends{-1, -1};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return;
    reader = Descriptor(ends[0]);
    writer = Descriptor(ends[1]);
  }
};

// With the signals' usual meaning and none held back.
pid_t spawn(const std::vector<std::string>& words, const Pipe& out, const Pipe& errors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.writer.number(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.writer.number(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = -1;
  const int problem =
      posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return problem == 0 ? child : -1;
}

// Takes what is there; false: the other end is closed.
bool take(const Descriptor& from, std::string& to) {
  std::array<char, 4096> piece{};
  const ssize_t got = read(from.number(), piece.data(), piece.size());
  if (got > 0) to.append(piece.data(), static_cast<size_t>(got));
  return got > 0 || (got < 0 && errno == EINTR);
}

// Until both ends are closed; false: time is over.
bool read_all(const Pipe& out, const Pipe& errors, Clock::time_point end, CommandResult& result) {
  std::array<pollfd, 2> open{pollfd{out.reader.number(), POLLIN, 0},
                             pollfd{errors.reader.number(), POLLIN, 0}};
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return false;
    if (poll(open.data(), open.size(), static_cast<int>(left.count())) < 0 && errno != EINTR)
      return false;
    if (open[0].revents != 0 && !take(out.reader, result.output)) open[0].fd = -1;
    if (open[1].revents != 0 && !take(errors.reader, result.errors)) open[1].fd = -1;
  }
  return true;
}

// What is over keeps no zombie; what is not, at the end of its time, is killed with its children.
std::optional<int> status_of(pid_t child, Clock::time_point end) {
  int state = 0;
  for (;;) {
    const pid_t ended = waitpid(child, &state, WNOHANG);
    if (ended == child) return state;
    if (ended < 0 && errno != EINTR) return std::nullopt;
    if (Clock::now() >= end) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  kill(-child, SIGKILL);
  kill(child, SIGKILL);
  waitpid(child, &state, 0);
  return std::nullopt;
}

}  // namespace

std::optional<CommandResult> run_command(const std::vector<std::string>& words,
                                         std::chrono::milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  Pipe out, errors;
  if (!out.writer || !errors.writer) return std::nullopt;
  const pid_t child = spawn(words, out, errors);
  if (child < 0) return std::nullopt;
  out.writer.close();
  errors.writer.close();
  CommandResult result;
  const bool whole = read_all(out, errors, end, result);
  const auto state = status_of(child, whole ? end : Clock::now());
  constexpr size_t most_of_errors = 4096;
  if (result.errors.size() > most_of_errors) result.errors.resize(most_of_errors);
  if (!state) return std::nullopt;
  constexpr int by_signal = 128;
  result.code = WIFSIGNALED(*state) ? by_signal + WTERMSIG(*state) : WEXITSTATUS(*state);
  return result;
}

}  // namespace switchyard
