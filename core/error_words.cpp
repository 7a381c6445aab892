#include "core/error_words.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <new>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "core/stacks.h"

namespace switchyard {

namespace {

constexpr std::string_view no_memory =
    "[memory] this process is given no more memory; what may limit it: the machine, its control "
    "group, 'ulimit -v'";
constexpr std::string_view no_threads = "[memory] the system starts no more threads: ";
constexpr std::string_view limits_of_threads =
    "; 'ulimit -u' and 'ulimit -v' limit them, and control groups";

bool is_of_memory(const std::exception& problem) {
  return dynamic_cast<const std::bad_alloc*>(&problem) != nullptr;
}

bool is_of_threads(const std::exception& problem) {
  const auto* system = dynamic_cast<const std::system_error*>(&problem);
  return system != nullptr && system->code() == std::errc::resource_unavailable_try_again;
}

// Without memory.
void say(std::string_view what, std::string_view more = {}, std::string_view end = {}) {
  write_text(STDERR_FILENO, "switchyard: ");
  for (const std::string_view part : {what, more, end}) write_text(STDERR_FILENO, part);
  write_text(STDERR_FILENO, "\n");
}

[[noreturn]] void end_by_uncaught() {
  try {
    if (std::current_exception()) throw;
  } catch (const std::exception& problem) {
    if (is_of_memory(problem))
      say(no_memory);
    else if (is_of_threads(problem))
      say(no_threads, problem.what(), limits_of_threads);
    else
      say(problem.what());
    if (is_of_memory(problem) || is_of_threads(problem)) _exit(static_cast<int>(ExitCode::other));
  } catch (...) {
  }
  std::abort();
}

}  // namespace

std::string words_of(const std::exception& problem) {
  if (is_of_memory(problem)) return std::string(no_memory);
  if (!is_of_threads(problem)) return problem.what();
  return fmt::format("{}{}{}", no_threads, problem.what(), limits_of_threads);
}

void say_uncaught_errors() { std::set_terminate(end_by_uncaught); }

}  // namespace switchyard
