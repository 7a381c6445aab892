#include "launch/slurm/command_output.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int not_there = 127, out_of_time = 124;

[[noreturn]] void become(std::vector<std::string> words, int out, bool with_errors) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setpgid(0, 0);  // the terminal's interrupt is for the launcher
  dup2(out, STDOUT_FILENO);
  if (with_errors) dup2(out, STDERR_FILENO);
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(not_there);
}

// Until its end or the deadline; whether the end was met.
bool read_all(int from, Clock::time_point deadline, std::string& text) {
  std::array<char, 4096> part{};
  for (;;) {
    const auto left = deadline - Clock::now();
    if (left <= Clock::duration::zero()) return false;
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(left).count() + 1;
    pollfd waiting{.fd = from, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, static_cast<int>(wait)) <= 0) continue;
    const ssize_t got = read(from, part.data(), part.size());
    if (got == 0 || (got < 0 && errno != EINTR)) return true;
    if (got > 0) text.append(part.data(), static_cast<size_t>(got));
  }
}

}  // namespace

std::vector<std::string> CommandOutput::lines() const {
  std::vector<std::string> all;
  for (const auto line : split_at('\n', out))
    if (!line.empty()) all.emplace_back(line);
  return all;
}

CommandOutput output_of(const CommandRequest& request) {
  std::array<int, 2> ends{};
  check(pipe2(ends.data(), O_CLOEXEC) == 0, ExitCode::other, "launch", "no pipe: {}",
        std::strerror(errno));
  const Descriptor reader(ends[0]);
  Descriptor writer(ends[1]);
  const pid_t child = fork();
  if (child == 0) become(request.words, writer.number(), request.with_errors);
  check(child > 0, ExitCode::other, "launch", "{} cannot be started: {}", request.words[0],
        std::strerror(errno));
  writer.close();
  CommandOutput output;
  const bool ended = read_all(reader.number(), Clock::now() + request.patience, output.out);
  if (!ended) kill(-child, SIGKILL);
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  output.code = WIFEXITED(state) ? WEXITSTATUS(state) : out_of_time;
  return output;
}

}  // namespace switchyard
