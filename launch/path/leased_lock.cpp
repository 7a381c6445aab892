#include "launch/path/leased_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/logging.h"
#include "core/stop_signal.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Disks of one machine: ext2 to 4, XFS, Btrfs, tmpfs, F2FS, ZFS.
bool is_local(int descriptor) {
  constexpr std::array<uint32_t, 6> local = {0xEF53,     0x58465342, 0x9123683E,
                                             0x01021994, 0xF2F52010, 0x2FC12FC1};
  struct statfs status {};
  if (fstatfs(descriptor, &status) != 0) return false;
  return std::ranges::find(local, static_cast<uint32_t>(status.f_type)) != local.end();
}

// The lock as the kernel lists it: "1: FLOCK  ADVISORY  WRITE 4242 08:01:131 0 EOF".
bool is_locked(const fs::path& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return false;
  const std::string inode = fmt::format(":{}", status.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      if (word.ends_with(inode) && line.find("FLOCK") != std::string::npos) return true;
    }
  }
  return false;
}

std::string text_of(const fs::path& file) {
  std::string text;
  try {
    text = read_file(file);
  } catch (const Error&) {
    return "";
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

namespace {

// A lease of another host, as this process has seen it over time.
struct Watched {
  std::string text;
  Clock::time_point since{}, ask_at{};
  Life life = Life::unknown;
};

bool is_given_up(const fs::path& file, const std::string& text, const LeaseRecord& record) {
  static std::mutex mutex;
  static std::map<std::string, Watched> all;
  const std::lock_guard lock(mutex);
  Watched& watched = all[fs::absolute(file).lexically_normal().string()];
  const auto now = Clock::now();
  if (watched.text != text) {
    watched.text = text;
    watched.since = now;
  }
  const LeaseHolder self = this_process();
  if (now >= watched.ask_at || record.holder.boot == self.boot) {
    watched.life = life_of(record.holder, self);
    watched.ask_at = now + std::chrono::seconds(10);
  }
  return watched.life == Life::gone || now - watched.since >= LeaseTimes().patience;
}

}  // namespace

std::string holder_of(const LockPlace& place) {
  if (is_locked(place.lock)) {
    const std::string text = text_of(place.lock);
    return text.empty() ? "another process" : text;
  }
  std::optional<std::string> text;
  try {
    text = read_lease(place.lease);
  } catch (const Error&) {  // of another user, as far as can be seen
  }
  const auto record = parse_lease(text.value_or(""));
  if (!record) return "";
  const Descriptor open(::open(place.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const bool is_far = record->holder.boot != this_process().boot;
  if (is_far && open && is_local(open.number())) return "";  // the kernel would have listed it
  return is_given_up(place.lease, *text, *record) ? "" : describe(record->holder);
}

LockRequest::LockRequest(LockPlace place, milliseconds patience, LockRules rules)
    : place_(std::move(place)),
      patience_(patience),
      end_(Clock::now() + patience),
      rules_(rules),
      self_(this_process()) {}

bool LockRequest::wait(milliseconds time) {
  if (lease_) return true;
  const auto pause = Clock::now() + time;
  for (;;) {
    const Turn found = turn();
    if (found == Turn::obtained) return true;
    if (found == Turn::held && Clock::now() >= end_) refuse();
    tell();
    check(!StopSignal::requested(), ExitCode::stopped, "path",
          "a signal asked to stop while '{}' was waited for, which {} holds",
          place_.folder.string(), holder_);
    if (Clock::now() >= pause) return false;
    std::this_thread::sleep_for(std::min(rules_.poll, time));
  }
}

LockRequest::Turn LockRequest::turn() {
  FileLock lock(place_.lock);
  if (!lock.held()) {
    const std::string text = text_of(place_.lock);
    holder_ = text.empty() ? "another process" : text;
    return Turn::held;
  }
  lock_ = std::move(lock);
  const auto text = read_lease(place_.lease);
  Turn found = Turn::unknown;
  if (!text) {
    lease_ = Lease::make(place_.lease, rules_.lease);
    found = lease_ ? Turn::obtained : Turn::unknown;
  } else {
    found = turn_at_lease(*text);
  }
  if (found == Turn::obtained) {
    note_in_lock();
  } else {
    lock_ = FileLock();
  }
  return found;
}

LockRequest::Turn LockRequest::turn_at_lease(const std::string& text) {
  const auto record = parse_lease(text);
  const bool runs_here = record && is_alive_here(record->holder, self_);
  const bool trusts_flock =
      lock_.by_kernel() && rules_.is_local.value_or(is_local(lock_.descriptor()));
  if (trusts_flock && !runs_here) return take_over("", false) ? Turn::obtained : Turn::unknown;
  const auto now = Clock::now();
  if (text != seen_) {
    moved_ = moved_ || !seen_.empty();
    seen_ = text;
    since_ = now;
  }
  holder_ = record ? describe(record->holder) : "another process";
  if (record) {
    const Turn found = judge(*record);
    if (found != Turn::unknown) return found;
  }
  const bool is_ended = record && is_of_earlier_start(record->holder, self_);
  const auto patience = is_ended ? 3 * rules_.lease.renewal : rules_.lease.patience;
  if (now - since_ >= patience) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(patience).count();
    const bool taken =
        take_over(fmt::format("{} has not renewed its lease for {} s", holder_, seconds), true);
    return taken ? Turn::obtained : Turn::unknown;
  }
  return moved_ ? Turn::held : Turn::unknown;
}

// What is known at once, or from a scheduler, which is not asked each time.
LockRequest::Turn LockRequest::judge(const LeaseRecord& record) {
  const auto now = Clock::now();
  if (now < ask_at_) return Turn::unknown;
  const Life life = life_of(record.holder, self_);
  if (life == Life::alive) return Turn::held;
  if (life == Life::unknown) {
    ask_at_ = now + std::max(milliseconds(10'000), rules_.poll);
    return Turn::unknown;
  }
  const bool is_near = record.holder.boot == self_.boot;
  const std::string why =
      is_near ? "" : fmt::format("{} is gone, or its job is", describe(record.holder));
  return take_over(why, !is_near) ? Turn::obtained : Turn::unknown;
}

bool LockRequest::take_over(const std::string& why, bool settles) {
  lease_ = Lease::take_over(place_.lease, rules_.lease);
  if (settles) std::this_thread::sleep_for(rules_.lease.settling);
  if (settles && !lease_->is_own()) {  // another one had the same thought
    lease_.reset();
    return false;
  }
  if (!why.empty()) log::warning("'{}' is taken over: {}", place_.folder.string(), why);
  return true;
}

void LockRequest::note_in_lock() const {
  const std::string text = describe(self_) + "\n";
  const int descriptor = lock_.descriptor();
  if (ftruncate(descriptor, 0) != 0 ||
      pwrite(descriptor, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    log::warning("{} cannot be written: {}", place_.lock.string(), std::strerror(errno));
  }
}

void LockRequest::tell() {
  if (holder_ == told_ || holder_.empty()) return;
  told_ = holder_;
  log::info("waiting for {}, which holds '{}'", holder_, place_.folder.string());
}

void LockRequest::refuse() const {
  const double minutes = std::chrono::duration<double, std::ratio<60>>(patience_).count();
  fail("path", "'{}' is {} by {}{}; one process at a time is allowed{}", place_.folder.string(),
       place_.use, holder_,
       patience_.count() > 0 ? fmt::format(" still, behind {:.2g} minutes", minutes) : "",
       place_.advice);
}

LeasedLock::LeasedLock(LockRequest request) {
  while (!request.wait(std::chrono::minutes(1))) {
  }
  lock_ = std::move(request.lock_);
  lease_ = std::move(request.lease_);
}

}  // namespace switchyard
