#pragma once

#include <filesystem>
#include <string_view>

#include "core/files.h"

namespace switchyard {

// Where a job writes: its log, to which it appends, and its result, which is there once it is
// whole. Throws Error where they cannot be opened.
class JobOutput {
 public:
  // `result` may be empty: standard output goes to the log.
  JobOutput(const std::filesystem::path& log, std::filesystem::path result);
  ~JobOutput();  // a result that was not kept is gone
  JobOutput(const JobOutput&) = delete;
  JobOutput& operator=(const JobOutput&) = delete;

  int out() const { return result_ ? result_.number() : log_.number(); }
  int error() const { return log_.number(); }
  void say(std::string_view line);  // to the log, with the time
  // The job has succeeded: its result takes its name, on the disk. False, and said in the log,
  // where that cannot be.
  bool keep();

 private:
  Descriptor log_;
  std::filesystem::path result_name_;
  Descriptor result_;
};

}  // namespace switchyard
