#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "launch/path/leased_lock.h"
#include "launch/path/options.h"
#include "launch/path/run_folder.h"

namespace switchyard {

// --lock-wait-minutes, which is 5 where a job was started again: what it follows may still be
// ending.
std::chrono::milliseconds lock_patience(const Settings& given);
OptionSpec lock_wait_option();

LockPlace lock_place(const RunFolder& run);  // RUN/lock, RUN/lease
std::string holder_of(const RunFolder& run);

// Held while a trainer (or extend, or a fork that makes it) works on a path: run.check_held() then
// reads the lease again. Throws Error naming the holder that does not end within `patience`.
class PathLock {
 public:
  explicit PathLock(const RunFolder& run, std::chrono::milliseconds patience = {},
                    const LockRules& rules = {});
  PathLock(const RunFolder& run, LockRequest request);  // for lock_place(run)
  ~PathLock();
  PathLock(const PathLock&) = delete;
  PathLock& operator=(const PathLock&) = delete;

 private:
  RunFolder run_;
  LeasedLock lock_;
};

}  // namespace switchyard
