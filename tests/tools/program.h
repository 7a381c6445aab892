#pragma once

#include <sys/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace switchyard::test {

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// A `switchyard` process, under mpirun where ranks > 1, in its own process group.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments, int ranks = 1,
                   const std::string& environment = "");
  ~Program();  // kills what still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }     // of launch/mpirun, or of the program itself
  std::vector<pid_t> rank_pids() const;  // of the ranks, in no order
  bool running();
  Outcome wait();
  std::string errors_so_far() const;

 private:
  std::filesystem::path folder_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

// Runs to the end.
Outcome run(const std::vector<std::string>& arguments, int ranks = 1,
            const std::string& environment = "");
// Words of one line, split at spaces.
std::vector<std::string> words(const std::string& line);
// Runs and fails the test, with what was printed, unless the exit code is 0.
std::string run_well(const std::string& line, int ranks = 1, const std::string& environment = "");

std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run);
// Writes text files of pseudo-random but learnable text and tokenizes them; returns the prefix.
std::string make_tokens(const std::filesystem::path& folder, const std::string& name, size_t bytes,
                        unsigned seed = 1);

}  // namespace switchyard::test
