#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

// What is counted, and how many make one that is shown.
struct ProgressUnit {
  const char* name = "MB";
  double size = 1e6;  // in bytes, or in whatever add() is given
};

// How far long work is: on a terminal one line on stderr that is drawn anew twice a second and is
// gone at the end, elsewhere a log line every half minute.
class Progress {
 public:
  // total: nothing when it cannot be known (a pipe). When not wanted it prints nothing.
  Progress(std::string name, std::optional<int64_t> total, bool wanted, ProgressUnit unit = {});
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(int64_t more);

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(Clock::time_point now) const;
  void show(Clock::time_point now);
  void clear();

  std::string name_;
  std::optional<int64_t> total_;
  bool wanted_;
  ProgressUnit unit_;
  bool terminal_;
  bool drawn_ = false;
  int64_t done_ = 0;
  Clock::time_point start_;
  Clock::time_point next_;
};

std::string show_duration(double seconds);  // 12:34, 3:05:12 or 5 d 3 h

}  // namespace switchyard
