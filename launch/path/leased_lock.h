#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "launch/path/file_lock.h"
#include "launch/path/lease.h"

// A lock for one process at a time, of all nodes that see a folder: a flock, and beside it a lease
// for those whose flocks are kept by each node for itself.
namespace switchyard {

struct LockPlace {
  std::filesystem::path folder;       // that is held, as messages name it
  std::filesystem::path lock, lease;  // files; the lease lies in the folder
  std::string use{};                  // "being worked on", of who holds it
  std::string advice{};               // what a refusal ends with
};

// How often a lock is tried, and when a lease is given up.
struct LockRules {
  LeaseTimes lease{};
  std::chrono::milliseconds poll{200};
  // Whether a flock on this disk is one for all who see it; by the kind of file system otherwise.
  std::optional<bool> is_local{};
};

// Of another process, as far as can be told without waiting: who holds it; empty: nobody. A lease
// of another host that nobody is known to have left counts. One that this process has watched, by
// asking before, for as long as a taker would, does not.
std::string holder_of(const LockPlace& place);

// The wait for a lock. A lease left by a process that is gone is taken over at once where that is
// known, else when it was not renewed for a minute; that long it is watched whatever the patience.
class LockRequest {
 public:
  explicit LockRequest(LockPlace place, std::chrono::milliseconds patience = {},
                       LockRules rules = {});
  // False: it was not obtained in this time. Throws Error naming the holder once the patience is
  // over, or when a signal asks this process to stop.
  bool wait(std::chrono::milliseconds time);

 private:
  friend class LeasedLock;
  enum class Turn : uint8_t { obtained, held, unknown };
  Turn turn();
  Turn turn_at_lease(const std::string& text);
  bool take_over(const std::string& why, bool settles);
  Turn judge(const LeaseRecord& record);
  void note_in_lock() const;
  void tell();
  [[noreturn]] void refuse() const;

  LockPlace place_;
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

// Held from here on, behind the rest of the request's wait, to its end.
class LeasedLock {
 public:
  explicit LeasedLock(LockRequest request);

  // Right before what changes the folder: throws Error where another process has taken it over.
  void check() const { lease_->check(); }
  bool is_own() const { return lease_->is_own(); }

 private:
  FileLock lock_{};
  std::unique_ptr<Lease> lease_;
};

}  // namespace switchyard
