#include "data/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "core/logging.h"

namespace switchyard {

namespace {

std::chrono::milliseconds interval(bool terminal) {
  return std::chrono::milliseconds(terminal ? 500 : 30'000);
}

// launch/mpirun says so where a rank itself writes to a pipe.
bool is_terminal() {
  return isatty(STDERR_FILENO) == 1 || std::getenv("SWITCHYARD_TERMINAL") != nullptr;
}

}  // namespace

std::string show_duration(double seconds) {
  const int64_t whole = std::llround(std::min(seconds, 1e12));
  const int64_t minutes = whole / 60, hours = minutes / 60;
  if (hours >= 100) return fmt::format("{} d {} h", hours / 24, hours % 24);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes % 60, whole % 60);
  return fmt::format("{}:{:02}", minutes, whole % 60);
}

Progress::Progress(std::string name, std::optional<int64_t> total, bool wanted, ProgressUnit unit)
    : name_(std::move(name)),
      total_(total),
      wanted_(wanted),
      unit_(unit),
      terminal_(is_terminal()),
      start_(Clock::now()),
      next_(start_ + interval(terminal_)) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void Progress::add(int64_t more) {
  done_ += more;
  if (!wanted_) return;
  if (total_ && done_ >= *total_) return clear();  // a line of the log may follow
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + interval(terminal_);
  show(now);
}

std::string Progress::line(Clock::time_point now) const {
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double done = static_cast<double>(done_);
  const double rate = done / seconds;
  std::string text = fmt::format("{}: {:.0f}", name_, done / unit_.size);
  if (total_) text += fmt::format(" of {:.0f}", static_cast<double>(*total_) / unit_.size);
  text += fmt::format(" {0}, {1:.{2}f} {0}/s", unit_.name, rate / unit_.size,
                      rate < 10 * unit_.size ? 1 : 0);
  if (!total_ || done_ == 0) return text;
  const double left = std::max(0.0, static_cast<double>(*total_) - done) / rate;
  return text + fmt::format(", {} left", show_duration(left));
}

void Progress::show(Clock::time_point now) {
  if (!terminal_) return log::info("{}", line(now));
  std::fputs(("\r\033[K" + line(now)).c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace switchyard
