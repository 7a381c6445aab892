#include "launch/campaign/local_executor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/files.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

class LocalExecutor : public Executor {
 public:
  explicit LocalExecutor(LocalResources resources) : resources_(std::move(resources)) {
    make_folder(resources_.logs);
  }
  ~LocalExecutor() override { kill(); }

  bool has_room(int64_t ranks) const override {
    int64_t used = ranks;
    for (const auto& [pid, job] : running_) used += job.ranks;
    return static_cast<int64_t>(running_.size()) < resources_.jobs && used <= resources_.ranks;
  }
  void start(const Job& job) override;
  std::vector<JobEnd> ended(std::chrono::milliseconds patience) override;
  std::vector<std::string> running() const override {
    std::vector<std::string> names;
    for (const auto& [pid, job] : running_) names.push_back(job.name);
    return names;
  }
  void stop() override { signal_all(SIGUSR1); }
  void kill() override {
    for (const auto& [pid, job] : running_) ::kill(-pid, SIGKILL);
  }

 private:
  void signal_all(int number) {
    for (const auto& [pid, job] : running_) ::kill(pid, number);
  }
  LocalResources resources_;
  std::map<pid_t, Job> running_;
};

std::vector<std::string> command_of(const Job& job) {
  const fs::path program = fs::read_symlink("/proc/self/exe");
  std::vector<std::string> words;
  if (job.ranks > 1) {
    const fs::path source = program.parent_path() / "../../launch/mpirun";
    words = {fs::exists(source) ? source.lexically_normal().string() : "mpirun", "-np",
             std::to_string(job.ranks)};
  }
  words.push_back(program);
  words.insert(words.end(), job.arguments.begin(), job.arguments.end());
  return words;
}

void LocalExecutor::start(const Job& job) {
  auto words = command_of(job);
  const fs::path log = resources_.logs / (job.name + ".log");
  make_folder(log.parent_path());
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    dup2(out, 1);
    dup2(out, 2);
    if (!job.result.empty())
      dup2(open(temporary_of(job.result).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  running_[child] = job;
}

std::vector<JobEnd> LocalExecutor::ended(std::chrono::milliseconds patience) {
  std::vector<JobEnd> ends;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  do {
    for (auto it = running_.begin(); it != running_.end();) {
      int state = 0;
      if (waitpid(it->first, &state, WNOHANG) != it->first) {
        ++it;
        continue;
      }
      const int code = WIFEXITED(state) ? WEXITSTATUS(state) : 76;
      if (!it->second.result.empty() && code == 0)
        fs::rename(temporary_of(it->second.result), it->second.result);
      ends.push_back({it->second.name, code});
      it = running_.erase(it);
    }
    if (!ends.empty()) break;
    if (poll(nullptr, 0, 20) < 0) break;
  } while (std::chrono::steady_clock::now() < deadline);
  return ends;
}

}  // namespace

std::unique_ptr<Executor> make_local_executor(const LocalResources& resources) {
  return std::make_unique<LocalExecutor>(resources);
}

}  // namespace switchyard
