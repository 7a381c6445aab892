#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

// Logging to stderr through spdlog, each line with time, level unless it is info, and the thread's
// label.
namespace switchyard::log {

enum class Level { info, warning, error };

void show_label(bool wanted);  // of this process's threads, in its lines; at first they have it
void write(Level level, std::string_view message);

// A long message with line breaks at blanks, so that it fits 100 columns beside the time; what
// follows a break is indented. Of places to break, behind a semicolon or comma is best.
std::string folded(std::string_view message);

template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace switchyard::log
