#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "launch/path/file_lock.h"
#include "launch/path/lease.h"
#include "launch/path/options.h"
#include "launch/path/run_folder.h"

namespace switchyard {

// How often a lock is tried, and when a lease is given up.
struct LockRules {
  LeaseTimes lease{};
  std::chrono::milliseconds poll{200};
  // Whether a flock on this disk is one for all who see it; by the kind of file system otherwise.
  std::optional<bool> is_local{};
};

// --lock-wait-minutes, which is 5 where a job was started again: what it follows may still be
// ending.
std::chrono::milliseconds lock_patience(const Settings& given);
OptionSpec lock_wait_option();

// Of another process, as far as can be told without waiting: who holds the path; empty: nobody.
// A lease of another host that nobody is known to have left counts. One that this process has
// watched, by asking before, for as long as a taker would, does not.
std::string holder_of(const RunFolder& run);

// The wait for a path's lock: flock of RUN/lock and, beside it, RUN/lease. A lease left by a
// process that is gone is taken over at once where that is known, else when it was not renewed for
// a minute; that long it is watched whatever the patience.
class LockRequest {
 public:
  explicit LockRequest(const RunFolder& run, std::chrono::milliseconds patience = {},
                       LockRules rules = {});
  // False: it was not obtained in this time. Throws Error naming the holder once the patience is
  // over, or when a signal asks this process to stop.
  bool wait(std::chrono::milliseconds time);

 private:
  friend class PathLock;
  enum class Turn : uint8_t { obtained, held, unknown };
  Turn turn();
  Turn turn_at_lease(const std::string& text);
  bool take_over(const std::string& why, bool settles);
  Turn judge(const LeaseRecord& record);
  void note_in_lock() const;
  void tell();
  [[noreturn]] void refuse() const;

  RunFolder run_;
  std::chrono::milliseconds patience_;
  std::chrono::steady_clock::time_point end_;
  LockRules rules_;
  LeaseHolder self_;
  FileLock lock_{};
  std::unique_ptr<Lease> lease_;
  std::string holder_;  // of whom it is waited for
  std::string told_;
  // The lease as it was last seen, since when, and whether it was renewed meanwhile.
  std::string seen_;
  std::chrono::steady_clock::time_point since_{};
  bool moved_ = false;
  // What its job's scheduler was asked for, and when again.
  std::chrono::steady_clock::time_point ask_at_{};
};

// Held while a trainer (or extend, or a fork that makes it) works on a path: run.check_held() then
// reads the lease again. Throws Error naming the holder that does not end within `patience`.
class PathLock {
 public:
  explicit PathLock(const RunFolder& run, std::chrono::milliseconds patience = {},
                    const LockRules& rules = {});
  explicit PathLock(LockRequest&& obtained);
  ~PathLock();
  PathLock(const PathLock&) = delete;
  PathLock& operator=(const PathLock&) = delete;

 private:
  void hold(LockRequest& obtained);

  RunFolder run_;
  FileLock lock_{};
  std::unique_ptr<Lease> lease_;
};

}  // namespace switchyard
