#include "data/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "core/logging.h"

namespace switchyard {

namespace {

constexpr double megabyte = 1e6;

std::chrono::milliseconds interval(bool terminal) {
  return std::chrono::milliseconds(terminal ? 500 : 5000);
}

std::string duration(double seconds) {
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

Progress::Progress(std::string name, std::optional<int64_t> total_bytes, bool wanted)
    : name_(std::move(name)),
      total_(total_bytes),
      wanted_(wanted),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      next_(start_ + interval(terminal_)) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void Progress::add(int64_t bytes) {
  done_ += bytes;
  if (!wanted_) return;
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + interval(terminal_);
  show(now);
}

std::string Progress::line(Clock::time_point now) const {
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double done = static_cast<double>(done_);
  const double rate = done / seconds;
  std::string text = fmt::format("{}: {:.0f} MB", name_, done / megabyte);
  if (!total_) return text + fmt::format(", {:.0f} MB/s", rate / megabyte);
  const double total = static_cast<double>(*total_);
  return text + fmt::format(" of {:.0f}, {:.0f} MB/s, {} left", total / megabyte, rate / megabyte,
                            duration(std::max(0.0, total - done) / rate));
}

void Progress::show(Clock::time_point now) {
  if (!terminal_) return log::info("{}", line(now));
  std::fputs(("\r\033[K" + line(now)).c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace switchyard
