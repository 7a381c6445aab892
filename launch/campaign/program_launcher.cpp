#include "launch/campaign/program_launcher.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "core/error.h"
#include "core/text.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

bool can_run(const fs::path& file) {
  std::error_code ignored;
  return fs::is_regular_file(file, ignored) && access(file.c_str(), X_OK) == 0;
}

// The house's own, which asks ranks to save by every signal: of an installation, of a source tree.
std::vector<fs::path> own_mpiruns(const fs::path& program) {
  const fs::path folder = program.parent_path();
  return {folder / "switchyard-mpirun",
          (folder / ".." / ".." / "launch" / "mpirun").lexically_normal()};
}

fs::path mpirun_for(const fs::path& program) {
  const auto own = own_mpiruns(program);
  for (const auto& file : own)
    if (can_run(file)) return file;
  const char* path = std::getenv("PATH");
  for (const auto folder : split_at(':', path == nullptr ? "" : path)) {
    const fs::path file = fs::path(folder) / "mpirun";
    if (can_run(file)) return fs::absolute(file);
  }
  fail("job",
       "several ranks need mpirun, but there is neither '{}' nor '{}' nor mpirun in the PATH",
       own[0].string(), own[1].string());
}

}  // namespace

ProgramLauncher::ProgramLauncher(fs::path program, const std::string& kind, bool has_gpus)
    : program_(std::move(program)), launches_(kind == "launch" || (kind == "auto" && has_gpus)) {
  check(kind == "auto" || kind == "mpirun" || kind == "launch", "job",
        "launcher '{}'; auto, mpirun or launch is allowed", kind);
}

std::vector<std::string> ProgramLauncher::command(const std::vector<std::string>& arguments,
                                                  int64_t ranks) const {
  std::vector<std::string> words{program_.string()};
  if (ranks > 1) {
    const std::string count = std::to_string(ranks);
    if (launches_)
      words.insert(words.end(), {"launch", "-np", count, "--"});
    else
      words.insert(words.begin(), {mpirun_for(program_).string(), "-np", count});
  }
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

// Ranks of `launch` die with it. mpirun has to remove what it shares with them: launch/mpirun kills
// ranks by QUIT, another one by TERM.
int ProgramLauncher::ending_signal(int64_t ranks) const {
  if (ranks == 1 || launches_) return SIGKILL;
  for (const auto& own : own_mpiruns(program_))
    if (can_run(own)) return SIGQUIT;
  return SIGTERM;
}

fs::path this_program() { return fs::read_symlink("/proc/self/exe"); }

}  // namespace switchyard
