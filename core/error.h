#pragma once

#ifndef __CUDACC__  // nvcc cannot evaluate fmt's checks of format strings
#include <fmt/format.h>
#endif

#include <stdexcept>
#include <string>
#include <string_view>

namespace switchyard {

// Every error of the program: "[where] what was given; what is allowed (rank label)".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The label of this thread in errors and logs, such as "rank 3 (tp 1 pp 0 dp 1)"; empty at first.
void set_thread_label(std::string label);
const std::string& thread_label();

[[noreturn]] void throw_error(std::string_view where, const std::string& what);

#ifndef __CUDACC__
template <class... Args>
[[noreturn]] void fail(std::string_view where, fmt::format_string<Args...> format, Args&&... args) {
  throw_error(where, fmt::format(format, std::forward<Args>(args)...));
}

// Throws when `ok` is false; the arguments are formatted only then.
template <class... Args>
void check(bool ok, std::string_view where, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) [[unlikely]]
    throw_error(where, fmt::format(format, std::forward<Args>(args)...));
}
#endif

}  // namespace switchyard
