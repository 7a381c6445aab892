#include "launch/path/lease.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "parallel/checkpoint/checkpoint.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr size_t room = 1024;  // bytes of the file: a count replaces all of them at once

// What is open may have been replaced: its name is another file's then.
std::string contents(const Descriptor& open) {
  struct stat status {};
  if (fstat(open.number(), &status) != 0 || status.st_nlink == 0) return "";
  std::array<char, 4 * room> bytes{};
  const int64_t got = pread_all(open, 0, std::as_writable_bytes(std::span(bytes)));
  return {bytes.data(), static_cast<size_t>(std::max<int64_t>(0, got))};
}

bool write_text(Descriptor& open, const std::string& text) {
  const bool written = pwrite_all(open, 0, std::as_bytes(std::span(text)));
  return open.close() && written;  // a network file system sends what was written here
}

}  // namespace

std::optional<std::string> read_lease(const fs::path& file) {
  for (int tries = 1;; ++tries) {
    const Descriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (open) return contents(open);
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    const bool passes = errno == ESTALE && tries < 5;  // replaced at this moment
    switchyard::check(passes, ExitCode::storage, "path", "{} cannot be read: {}", file.string(),
                      std::strerror(errno));
  }
}

std::optional<LeaseRecord> parse_lease(const std::string& text) {
  const auto parsed = parse_json_or_discard(text);
  if (!parsed.is_object() || !parsed.contains("token") || !parsed.contains("holder"))
    return std::nullopt;
  try {
    return LeaseRecord{parsed.at("token"), lease_holder_from(parsed.at("holder")),
                       parsed.at("counter")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

Lease::Lease(const fs::path& file, const LeaseTimes& times)
    : file_(file),
      token_(random_checkpoint_id()),
      own_(json_text(to_json(this_process()))),
      renewal_(times.renewal) {}

std::string Lease::text(int64_t counter) const {
  std::string text =
      fmt::format("{{\"token\": \"{}\", \"counter\": {}, \"holder\": {}}}", token_, counter, own_);
  text.resize(std::max(room, text.size() + 1), ' ');
  text.back() = '\n';
  return text;
}

std::unique_ptr<Lease> Lease::make(const fs::path& file, const LeaseTimes& times) {
  std::unique_ptr<Lease> lease(new Lease(file, times));
  Descriptor open(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!open && (errno == EEXIST || errno == ENOENT)) return nullptr;
  const bool made = static_cast<bool>(open);
  const bool written = made && write_text(open, lease->text(0));
  const int cause = errno;
  if (made && !written) unlink(file.c_str());  // a full disk
  errno = cause;
  switchyard::check(written, ExitCode::storage, "path", "{} cannot be written: {}", file.string(),
                    std::strerror(errno));
  lease->begin();
  return lease;
}

std::unique_ptr<Lease> Lease::take_over(const fs::path& file, const LeaseTimes& times) {
  std::unique_ptr<Lease> lease(new Lease(file, times));
  const fs::path made = fmt::format("{}.{}.tmp", file.string(), lease->token_);
  std::error_code problem = write_whole(made, lease->text(0), Durability::in_memory);
  if (!problem) fs::rename(made, file, problem);
  switchyard::check(!problem, ExitCode::storage, "path", "{} cannot be written: {}", file.string(),
                    problem.message());
  lease->begin();
  return lease;
}

namespace {

// Of this thread, and so of those that it starts meanwhile: signals are the others'.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

void Lease::begin() {
  const SignalsBlocked blocked;
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, renewal_, [this] { return ends_; })) {
      lock.unlock();
      const bool own = count();
      lock.lock();
      if (!own) return;
    }
  });
}

// False: it is another one's. A file that cannot be written just now is tried again later.
bool Lease::count() {
  Descriptor open(::open(file_.c_str(), O_RDWR | O_CLOEXEC));
  if (!open) return errno != ENOENT;
  if (contents(open).find(token_) == std::string::npos) return false;
  write_text(open, text(++counter_));
  return true;
}

bool Lease::is_own() const {
  const auto found = read_lease(file_);
  return found && found->find(token_) != std::string::npos;
}

void Lease::check() const {
  const auto found = read_lease(file_);
  if (found && found->find(token_) != std::string::npos) return;
  const auto record = parse_lease(found.value_or(""));
  fail(ExitCode::storage, "path",
       "'{}' is not this job's any more: {}; it stops here, and changes nothing more in it",
       file_.parent_path().string(),
       record ? fmt::format("it was taken over by {}", describe(record->holder))
              : fmt::format("{} is gone", file_.string()));
}

Lease::~Lease() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
  try {
    std::error_code ignored;
    if (is_own()) fs::remove(file_, ignored);
  } catch (const Error&) {  // whoever comes next sees that its process is gone
  }
}

}  // namespace switchyard
