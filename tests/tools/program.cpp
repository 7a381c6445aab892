#include "tests/tools/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <thread>

namespace fs = std::filesystem;

namespace switchyard::test {

namespace {

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

[[noreturn]] void become(const std::vector<std::string>& line, const fs::path& folder,
                         const std::string& environment) {
  setpgid(0, 0);
  signal(SIGINT, SIG_DFL);  // a shell's background job has it ignored
  const int out = open((folder / "out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  const int err = open((folder / "err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  setenv("OMP_NUM_THREADS", "1", 1);
  setenv("CUDA_VISIBLE_DEVICES", "", 1);  // tests/gpu/run is for those
  for (const auto& assignment : words(environment)) {
    const size_t equals = assignment.find('=');
    setenv(assignment.substr(0, equals).c_str(), assignment.substr(equals + 1).c_str(), 1);
  }
  std::vector<char*> argv;
  for (const auto& word : line) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

}  // namespace

std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

Program::Program(const std::vector<std::string>& arguments, int ranks,
                 const std::string& environment) {
  std::string name = (fs::temp_directory_path() / "switchyard-run-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  folder_ = name;
  std::vector<std::string> line;
  if (ranks > 1) line = {SWITCHYARD_TEST_MPIRUN, "-np", std::to_string(ranks)};
  line.push_back(SWITCHYARD_PROGRAM);
  line.insert(line.end(), arguments.begin(), arguments.end());
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) become(line, folder_, environment);
  setpgid(pid_, pid_);
}

Program::~Program() {
  if (!ended_) {
    for (const pid_t rank : rank_pids()) kill(rank, SIGKILL);
    kill(-pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
  }
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

// The program's processes two below mpirun's wrapper script.
std::vector<pid_t> Program::rank_pids() const {
  std::map<pid_t, pid_t> parents;
  std::vector<pid_t> programs, pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    if (std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0])) == 0)
      continue;
    const std::string stat = text_of(entry.path() / "stat");
    const size_t behind_name = stat.rfind(')');
    if (behind_name == std::string::npos) continue;
    std::istringstream fields(stat.substr(behind_name + 1));
    char state = 0;
    pid_t parent = 0;
    fields >> state >> parent;
    const pid_t pid = std::stoi(entry.path().filename().string());
    parents[pid] = parent;
    if (state != 'Z' && stat.find("(switchyard") != std::string::npos) programs.push_back(pid);
  }
  for (const pid_t pid : programs)
    if (parents[parents[pid]] == pid_) pids.push_back(pid);
  return pids;
}

bool Program::running() {
  if (!ended_ && waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
  return !ended_;
}

Outcome Program::wait() {
  if (!ended_) waitpid(pid_, &status_, 0);
  ended_ = true;
  const int code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  return {code, text_of(folder_ / "out"), text_of(folder_ / "err")};
}

std::string Program::errors_so_far() const { return text_of(folder_ / "err"); }

Outcome run(const std::vector<std::string>& arguments, int ranks, const std::string& environment) {
  return Program(arguments, ranks, environment).wait();
}

std::string run_well(const std::string& line, int ranks, const std::string& environment) {
  const auto outcome = run(words(line), ranks, environment);
  EXPECT_EQ(outcome.exit_code, 0) << "switchyard " << line << "\n" << outcome.err;
  return outcome.out;
}

std::vector<nlohmann::json> metrics_of(const fs::path& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream stream(run / "metrics.jsonl");
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

std::string make_tokens(const fs::path& folder, const std::string& name, size_t bytes,
                        unsigned seed) {
  static const char* vocabulary[] = {"rank",  "step",    "shard ",  "the ", "of ", "a ", "path",
                                     "main ", "branch ", "decays ", "and ", "\n",  ". ", "loss "};
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < bytes) text += vocabulary[random() % std::size(vocabulary)];
  const fs::path file = folder / (name + ".txt");
  std::ofstream(file) << text;
  const std::string prefix = (folder / name).string();
  run_well("tokenize --input " + file.string() + " --output-prefix " + prefix);
  return prefix;
}

}  // namespace switchyard::test
