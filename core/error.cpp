#include "core/error.h"

#include <atomic>
#include <filesystem>
#include <utility>

namespace switchyard {

namespace {

thread_local std::string label_of_thread;
std::atomic<bool> working = false;

ExitCode code_of_place(std::string_view where) {
  const bool storage = where == "checkpoint" || where == "metrics" || where == "file";
  return storage ? ExitCode::storage : default_code();
}

}  // namespace

void begin_work() { working = true; }

ExitCode default_code() { return working ? ExitCode::other : ExitCode::usage; }

ExitCode code_of(const std::exception& problem) {
  if (const auto* error = dynamic_cast<const Error*>(&problem)) return error->code();
  const bool of_files = dynamic_cast<const std::filesystem::filesystem_error*>(&problem) != nullptr;
  return of_files ? ExitCode::storage : ExitCode::other;
}

void set_thread_label(std::string label) { label_of_thread = std::move(label); }

const std::string& thread_label() { return label_of_thread; }

void throw_error(std::string_view where, const std::string& what) {
  throw_error(code_of_place(where), where, what);
}

void throw_error(ExitCode code, std::string_view where, const std::string& what) {
  if (label_of_thread.empty()) throw Error(fmt::format("[{}] {}", where, what), code);
  throw Error(fmt::format("[{}] {} ({})", where, what, label_of_thread), code);
}

}  // namespace switchyard
