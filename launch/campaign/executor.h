#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace switchyard {

// One command that runs to its end on ranks of its own.
struct Job {
  std::string name;  // one of a kind among the jobs that run; its log is logs/NAME.log
  std::vector<std::string> arguments;  // of the program: "train", RUN, ...
  int64_t ranks = 1;                   // processes that share the work
  std::filesystem::path result{};      // takes its standard output once it has ended with code 0
};

struct JobEnd {
  std::string name;
  int code = 0;  // as in the table of docs/paths.md
};

// Where jobs run: this machine, or what a cluster's queue gives. What a job has done is told by the
// disk; an executor only knows which ones run.
class Executor {
 public:
  Executor() = default;
  virtual ~Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Whether one more job of so many ranks may start now.
  virtual bool has_room(int64_t ranks) const = 0;
  // Throws Error where it cannot be started, such as for more ranks than there will ever be.
  virtual void start(const Job& job) = 0;
  // The jobs that have ended since the last call. Waits at most `patience` for one, less when a
  // signal comes.
  virtual std::vector<JobEnd> ended(std::chrono::milliseconds patience) = 0;
  virtual std::vector<std::string> running() const = 0;  // names
  // Asks all that run to save and end; they are awaited by ended(). The second ends them at once.
  virtual void stop() = 0;
  virtual void kill() = 0;
};

}  // namespace switchyard
