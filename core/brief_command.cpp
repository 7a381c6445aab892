#include "core/brief_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "core/files.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

// A group of its own, so that the terminal's interrupt does not come to it, and no signal is held
// back or ignored.
class Attributes {
 public:
  Attributes(int output) {
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
    posix_spawnattr_init(&process);
    sigset_t none, usual;
    sigemptyset(&none);
    sigfillset(&usual);
    posix_spawnattr_setsigmask(&process, &none);
    posix_spawnattr_setsigdefault(&process, &usual);
    posix_spawnattr_setflags(
        &process, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Attributes() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&process);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  posix_spawn_file_actions_t files{};
  posix_spawnattr_t process{};
};

int milliseconds_until(Clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

// Until its end; false: not in time.
bool read_to_end(const Descriptor& pipe, Clock::time_point end, std::string& text) {
  for (;;) {
    pollfd wanted{pipe.number(), POLLIN, 0};
    const int ready = poll(&wanted, 1, milliseconds_until(end));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    std::array<char, 4096> part{};
    const ssize_t got = read(pipe.number(), part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    text.append(part.data(), static_cast<size_t>(got));
  }
}

bool ends_in_time(pid_t child, Clock::time_point end, int& status) {
  for (;;) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended != 0 && (ended > 0 || errno != EINTR)) return ended == child;
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

std::optional<CommandOutput> output_of(const std::vector<std::string>& words,
                                       std::chrono::milliseconds limit) {
  const auto end = Clock::now() + limit;
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  const Descriptor reader(ends[0]);
  Descriptor writer(ends[1]);
  std::vector<std::string> copies = words;
  std::vector<char*> arguments;
  arguments.reserve(copies.size() + 1);
  for (std::string& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const Attributes attributes(writer.number());
  pid_t child = -1;
  const int problem = posix_spawnp(&child, arguments[0], &attributes.files, &attributes.process,
                                   arguments.data(), environ);
  writer.close();
  if (problem != 0) return std::nullopt;
  CommandOutput output;
  if (read_to_end(reader, end, output.text) && ends_in_time(child, end, output.status))
    return output;
  kill(-child, SIGKILL);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return std::nullopt;
}

}  // namespace switchyard
