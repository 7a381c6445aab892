#include "launch/campaign/job_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/text.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

Descriptor opened(const fs::path& file, int how) {
  constexpr mode_t all_may = 0666;
  Descriptor open(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | how, all_may));
  check(static_cast<bool>(open), "file", "{} cannot be written: {}", file.string(),
        std::strerror(errno));
  return open;
}

}  // namespace

JobOutput::JobOutput(const fs::path& log, fs::path result)
    : log_(opened(log, O_APPEND)), result_name_(std::move(result)) {
  if (result_name_.empty()) return;
  if (result_name_.has_parent_path()) make_folder(result_name_.parent_path());
  // A job that outlives its campaign by a moment may still write to the file of that name.
  const fs::path temporary = temporary_of(result_name_);
  unlink(temporary.c_str());
  result_ = opened(temporary, O_EXCL);
}

JobOutput::~JobOutput() {
  if (result_ && is_named(result_, temporary_of(result_name_)))
    unlink(temporary_of(result_name_).c_str());
}

void JobOutput::say(std::string_view line) {
  const std::string text = fmt::format("== {} {}\n", now_in_utc("%Y-%m-%dT%H:%M:%SZ"), line);
  [[maybe_unused]] const auto ignored = write(log_.number(), text.data(), text.size());
}

bool JobOutput::keep() {
  if (!result_) return true;
  const fs::path temporary = temporary_of(result_name_);
  std::error_code problem;
  if (fsync(result_.number()) != 0) problem = {errno, std::generic_category()};
  if (!problem) fs::rename(temporary, result_name_, problem);
  if (!problem) problem = sync_folder(result_name_.parent_path());
  if (problem)
    say(fmt::format("{} cannot be written: {}", result_name_.string(), problem.message()));
  return !problem;
}

}  // namespace switchyard
