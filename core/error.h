#pragma once

#ifndef __CUDACC__  // nvcc cannot evaluate fmt's checks of format strings
#include <fmt/core.h>
#endif

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace switchyard {

// What the program ends with; docs/paths.md has the table.
enum class ExitCode : uint8_t {
  reached = 0,
  other = 1,
  usage = 2,  // or input that is known before the first step
  non_finite = 3,
  differs = 4,  // what was to be alike
  storage = 5,
  stopped = 75,    // by a signal, and saved
  lost_peer = 76,  // a rank, node or connection is gone
  timed_out = 77,  // somebody does not answer: a rank that hangs, a cable that is cut
};

// An error that names no other code is one of use until work begins, and `other` from then on.
void begin_work();  // before the first step; of the whole process
ExitCode default_code();

// Every error of the program: "[where] what was given; what is allowed (rank label)".
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode code = default_code())
      : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// An Error's own code; `storage` for the file system's errors.
ExitCode code_of(const std::exception& problem);

// The label of this thread in errors and logs, such as "rank 3 (tp 1 pp 0 dp 1)"; empty at first.
void set_thread_label(std::string label);
const std::string& thread_label();

// Errors of "checkpoint", "metrics" and "file" are those of storage.
[[noreturn]] void throw_error(std::string_view where, const std::string& what);
[[noreturn]] void throw_error(ExitCode code, std::string_view where, const std::string& what);

#ifndef __CUDACC__
template <class... Args>
[[noreturn]] void fail(std::string_view where, fmt::format_string<Args...> format, Args&&... args) {
  throw_error(where, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void fail(ExitCode code, std::string_view where, fmt::format_string<Args...> format,
                       Args&&... args) {
  throw_error(code, where, fmt::format(format, std::forward<Args>(args)...));
}

// Throws when `ok` is false; the arguments are formatted only then.
template <class... Args>
void check(bool ok, std::string_view where, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) [[unlikely]]
    throw_error(where, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void check(bool ok, ExitCode code, std::string_view where, fmt::format_string<Args...> format,
           Args&&... args) {
  if (!ok) [[unlikely]]
    throw_error(code, where, fmt::format(format, std::forward<Args>(args)...));
}
#endif

}  // namespace switchyard
