#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

// How far a long reading of files is: on a terminal one line on stderr that is drawn anew twice a
// second, elsewhere a log line every five seconds.
class Progress {
 public:
  // total_bytes: nothing when it cannot be known (a pipe). When not wanted it prints nothing.
  Progress(std::string name, std::optional<int64_t> total_bytes, bool wanted);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(int64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(Clock::time_point now) const;
  void show(Clock::time_point now);

  std::string name_;
  std::optional<int64_t> total_;
  bool wanted_;
  bool terminal_;
  bool drawn_ = false;
  int64_t done_ = 0;
  Clock::time_point start_;
  Clock::time_point next_;
};

}  // namespace switchyard
