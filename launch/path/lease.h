#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "launch/path/lease_holder.h"

// A file such as RUN/lease: who works in a folder, as every node sees it. A flock may be kept by
// each node for itself (NFS with local_lock, Lustre with localflock), so that two would hold one.
namespace switchyard {

struct LeaseTimes {
  std::chrono::milliseconds renewal{5'000};  // between two counts of the holder
  // Without one, by the watcher's own clock: given up. Three renewals are enough of a start that
  // the watcher's own launcher has ended.
  std::chrono::milliseconds patience{60'000};
  std::chrono::milliseconds settling{1'000};  // until another one that took it as well is seen
};

// What the file says. No clock of a host is in it.
struct LeaseRecord {
  std::string token;  // random: this holder, and no other before or after
  LeaseHolder holder;
  int64_t counter = 0;
};
// Its text as it is now; none: there is no such file. Throws Error where it cannot be read.
std::optional<std::string> read_lease(const std::filesystem::path& file);
std::optional<LeaseRecord> parse_lease(const std::string& text);  // none: not whole

// A lease that is held: a thread counts in it, in place, so that a late count never lands in the
// file by which another process has replaced it. Its end removes the file.
class Lease {
 public:
  // Makes the file; null: another one is there.
  static std::unique_ptr<Lease> make(const std::filesystem::path& file, const LeaseTimes& times);
  // Puts its own in the place of the file that is there.
  static std::unique_ptr<Lease> take_over(const std::filesystem::path& file,
                                          const LeaseTimes& times);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Throws Error (storage, so that a policy of requeues lets it be) where another has it now. Reads
  // the file anew: that is what is called right before a write that changes the path.
  void check() const;
  bool is_own() const;  // the same, as an answer

 private:
  Lease(const std::filesystem::path& file, const LeaseTimes& times);
  std::string text(int64_t counter) const;
  void begin();
  bool count();

  std::filesystem::path file_;
  std::string token_, own_;  // own_: the holder's part of the text
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  int64_t counter_ = 0;
  std::chrono::milliseconds renewal_;
  std::thread thread_;
};

}  // namespace switchyard
