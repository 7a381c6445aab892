#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/campaign/child_process.h"
#include "launch/campaign/executor.h"
#include "launch/campaign/job_output.h"

namespace switchyard {

// How a job is started here.
struct JobStart {
  std::vector<std::string> words;
  std::map<std::string, std::string> environment;
  std::vector<std::string> gpus;  // that it holds
  int ending_signal = 0;          // what its first process takes to end all at once
};

// A job as processes of this machine, from its start to its end.
class RunningJob {
 public:
  // Throws Error where it cannot be started.
  RunningJob(Job job, JobStart start, const std::filesystem::path& log);

  const Job& job() const { return job_; }
  const std::vector<std::string>& gpus() const { return start_.gpus; }
  int descriptor() const { return process_->descriptor(); }  // has input once it has ended

  void ask_to_stop();  // once, to save
  void end();          // at once; what a launcher needs to tidy up is left to it
  void end_late();     // that, too, is over
  // What docs/paths.md calls its end, once it is there; its result is kept then.
  std::optional<int> ended();

 private:
  enum class Asked : uint8_t { nothing, to_stop, to_end };
  int code_of(int status) const;

  Job job_;
  JobStart start_;
  JobOutput output_;
  Asked asked_ = Asked::nothing;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace switchyard
