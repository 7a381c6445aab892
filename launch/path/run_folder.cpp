#include "launch/path/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/logging.h"
#include "launch/path/paths_near.h"
#include "launch/path/pins.h"
#include "launch/path/relative_name.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The '@' of a folder above is part of its name: only the last name can stand before a step.
size_t sign_before_step(const std::string& text) {
  const size_t at = text.rfind('@'), slash = text.rfind('/');
  const bool above = slash != std::string::npos && at != std::string::npos && at < slash;
  return above ? std::string::npos : at;
}

// Folders were named like a step before such names were refused.
void check_not_a_folder(const std::string& text, size_t at) {
  std::error_code ignored;
  const bool meant = fs::exists(fs::path(text) / "path.json", ignored) &&
                     !fs::exists(fs::path(text.substr(0, at)) / "path.json", ignored);
  check(!meant, "path",
        "'{}' is read as a step of '{}', but is a folder: '{}/' means its latest step, '{}@STEP' "
        "another",
        text, text.substr(0, at), text, text);
}

// What a path keeps in its own folders comes and goes.
void check_not_within_path(const fs::path& folder, const std::string& name) {
  std::error_code ignored;
  for (const fs::path& start : {fs::path(name), fs::weakly_canonical(name, ignored)}) {
    for (fs::path at = start; at.has_relative_path(); at = at.parent_path()) {
      check(!is_part_of_path(at) || !fs::exists(at.parent_path() / "path.json", ignored), "path",
            "'{}' lies in {}, where the path '{}' keeps what is its own; a folder elsewhere is "
            "allowed",
            folder.string(), at.filename().string(), at.parent_path().string());
    }
  }
}

}  // namespace

RunReference parse_run_reference(const std::string& text) {
  const size_t at = sign_before_step(text);
  if (at == std::string::npos) return {text, std::nullopt};
  check_not_a_folder(text, at);
  const std::string step = text.substr(at + 1);
  int64_t value = 0;
  const auto [end, problem] = std::from_chars(step.data(), step.data() + step.size(), value);
  check(problem == std::errc() && end == step.data() + step.size() && value >= 0 && at > 0, "path",
        "'{}'; RUN or RUN@STEP is allowed, with a step of at least 0", text);
  return {text.substr(0, at), value};
}

void write_file_atomically(const fs::path& file, const std::string& text) {
  const fs::path temporary = file.string() + ".tmp";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  check(fd >= 0, "file", "{} cannot be written: {}", temporary.string(), std::strerror(errno));
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = ::write(fd, text.data() + written, text.size() - written);
    if (n <= 0) break;
    written += static_cast<size_t>(n);
  }
  const bool synced = written == text.size() && fsync(fd) == 0;
  const int cause = errno;
  std::error_code problem;
  if (::close(fd) != 0 || !synced) {
    fs::remove(temporary, problem);
    fail("file", "{} cannot be written: {}", file.string(), std::strerror(cause));
  }
  fs::rename(temporary, file, problem);
  check(!problem, "file", "{} cannot be renamed to {}: {}", temporary.string(), file.string(),
        problem.message());
}

void make_folder(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  check(!problem && fs::is_directory(folder), "file", "the folder '{}' cannot be made: {}",
        folder.string(), problem ? problem.message() : "a file has its name");
}

std::string read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  check(stream.good(), "file", "{} cannot be read: {}", file.string(), std::strerror(errno));
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

RunFolder::RunFolder(fs::path folder) : folder_(std::move(folder)) {
  check(!folder_.empty(), "path", "an empty name was given; the name of a folder is allowed");
}

bool RunFolder::exists() const {
  std::error_code problem;
  const bool found = fs::exists(folder_ / "path.json", problem);
  check(!problem, "file", "'{}' cannot be looked into: {}", folder_.string(), problem.message());
  return found;
}

bool RunFolder::taken() const {
  std::error_code ignored;  // what cannot be looked into cannot be made either
  if (!fs::exists(folder_, ignored)) return false;
  if (!fs::is_directory(folder_, ignored)) return true;
  const auto entries = fs::directory_iterator(folder_, ignored);
  return std::any_of(begin(entries), end(entries), [](const fs::directory_entry& entry) {
    const auto name = entry.path().filename();
    return name != "lock" && name != "matmul.jsonl" && name != "path.json.tmp";
  });
}

void RunFolder::check_name() const {
  std::string name = fs::absolute(folder_).lexically_normal().string();
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  check_is_text(fs::path(name).filename().string());
  check_not_within_path(folder_, name);
  const size_t at = sign_before_step(name);
  if (at == std::string::npos) return;
  std::error_code ignored;
  const std::string named = name.substr(0, at);
  const bool meant = fs::exists(fs::path(named) / "path.json", ignored);
  fail("path", "'{}'; the name of a new folder must not have an '@', which stands before a step{}",
       folder_.string(),
       meant ? fmt::format(": this is a step of '{}' (train has --load-step, fork a branch)", named)
             : "");
}

void RunFolder::check_unused() const {
  for (const fs::path& left : {checkpoints(), folder_ / "metrics.jsonl"}) {
    std::error_code ignored;
    check(!fs::exists(left, ignored), "path",
          "'{}' has no path.json but holds {}, which another path left; a new path needs a folder "
          "of its own",
          folder_.string(), left.filename().string());
  }
}

std::string RunFolder::read_text() const {
  check(exists(), "path", "there is no path in '{}' (it has no path.json)", folder_.string());
  return read_file(folder_ / "path.json");
}

PathSpecification RunFolder::read() const {
  return PathSpecification::from_json(read_text(), (folder_ / "path.json").string());
}

void RunFolder::write(const PathSpecification& path) const {
  make_folder(folder_);
  write_file_atomically(folder_ / "path.json", path.to_json() + "\n");
}

std::optional<CheckpointEntry> RunFolder::latest() const {
  std::optional<CheckpointEntry> found;
  for (auto& entry : list_checkpoints(checkpoints())) {
    if (entry.complete) found = entry;
  }
  return found;
}

bool RunFolder::has(int64_t step) const {
  const auto all = list_checkpoints(checkpoints());
  return std::ranges::any_of(all, [&](const auto& e) { return e.complete && e.step == step; });
}

bool RunFolder::is_untrained() const {
  std::error_code ignored;
  for (const char* name : {"metrics.jsonl", "metrics.discarded.jsonl", "discarded"}) {
    const fs::path file = folder_ / name;
    if (fs::exists(file, ignored) && !fs::is_empty(file, ignored)) return false;
  }
  return !latest() && std::ranges::none_of(read_pins(folder_), &Pin::counts);
}

CheckpointEntry RunFolder::checkpoint(std::optional<int64_t> step) const {
  check(exists(), "path", "there is no path in '{}' (it has no path.json)", folder_.string());
  check(step != 0, "path",
        "step 0 of '{}' is its random start, of which nothing is saved: eval scores it, and "
        "'fork {}@0 NEW' makes a path that starts there",
        folder_.string(), folder_.string());
  const auto newest = latest();
  check(newest.has_value(), "path", "'{}' has no saved step yet", folder_.string());
  if (!step) return *newest;
  CheckpointEntry nearest = *newest;
  for (auto& entry : list_checkpoints(checkpoints())) {
    if (!entry.complete) continue;
    if (std::abs(entry.step - *step) < std::abs(nearest.step - *step)) nearest = entry;
  }
  check(nearest.step == *step, "path", "step {} of '{}' is not saved; the nearest saved step is {}",
        *step, folder_.string(), nearest.step);
  return nearest;
}

std::optional<int64_t> RunFolder::newest_good_below(int64_t step) const {
  auto entries = list_checkpoints(checkpoints());
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (!entry->complete || entry->step >= step) continue;
    try {
      CheckpointReader(entry->folder).verify();
      return entry->step;
    } catch (const Error& problem) {
      log::warning("step {} is damaged too: {}", entry->step, problem.what());
    }
  }
  return std::nullopt;
}

namespace {

std::vector<Pin> pins_of(const fs::path& run, int64_t step) {
  auto pins = read_pins(run);
  std::erase_if(pins, [&](const Pin& pin) { return pin.step != step; });
  return pins;
}

// What a process that was killed left of a save or a deletion below the newest complete step. One
// that a branch needs stays: its files may come back.
void remove_fragments(const fs::path& run, const std::vector<CheckpointEntry>& entries) {
  const auto newest =
      std::find_if(entries.rbegin(), entries.rend(), [](const auto& e) { return e.complete; });
  for (auto entry = newest; entry != entries.rend(); ++entry) {
    std::error_code problem;
    if (entry->complete || !fs::is_directory(entry->folder, problem) || problem) continue;
    if (std::ranges::any_of(pins_of(run, entry->step), &Pin::counts)) continue;
    log::info("what is left of step {}, which is not complete, goes", entry->step);
    remove_checkpoint(entry->folder);
  }
}

}  // namespace

void RunFolder::retain(int64_t keep) const {
  if (keep <= 0) return;
  auto entries = list_checkpoints(checkpoints());
  remove_fragments(folder_, entries);
  std::erase_if(entries, [](const CheckpointEntry& e) { return !e.complete; });
  const auto excess = static_cast<int64_t>(entries.size()) - keep;
  if (excess > 0) follow_branches(folder_);
  for (int64_t i = 0; i < excess; ++i) {
    const auto& entry = entries[static_cast<size_t>(i)];
    const FileLock lock = lock_pins(folder_);
    if (!lock.held()) return;                        // the next time
    const auto pins = pins_of(folder_, entry.step);  // each time anew: forks may be made meanwhile
    if (std::ranges::any_of(pins, &Pin::counts)) continue;
    remove_checkpoint(entry.folder);
    std::error_code ignored;  // a pin of nothing does no harm
    for (const Pin& pin : pins) {
      log::info("step {} was kept for the branch '{}', which is gone", pin.step,
                pin.branch.lexically_normal().string());
      fs::remove(pin.file, ignored);
    }
  }
}

void RunFolder::discard_behind(int64_t step) const {
  const FileLock lock = lock_pins(folder_);
  check(lock.held(), "file", "{} has been locked for a minute by another process",
        (folder_ / "pins.lock").string());
  std::vector<CheckpointEntry> behind;
  for (auto& entry : list_checkpoints(checkpoints())) {
    if (!entry.complete || entry.step <= step) continue;
    check(std::ranges::none_of(pins_of(folder_, entry.step), &Pin::counts), "path",
          "going on from step {} would discard step {}, a fork point (see {}); fork a branch from "
          "step {} instead",
          step, entry.step, (folder_ / "pins").string(), step);
    behind.push_back(entry);
  }
  for (const auto& entry : behind) {
    make_folder(folder_ / "discarded");
    fs::path to = folder_ / "discarded" / entry.folder.filename();
    for (int i = 1; fs::exists(to); ++i) {
      to = folder_ / "discarded" / fmt::format("{}.{}", entry.folder.filename().string(), i);
    }
    log::warning("step {} was saved behind the step that is gone on from; it moves to {}",
                 entry.step, to.string());
    fs::rename(entry.folder, to);
  }
}

PathLock::PathLock(const RunFolder& run, std::chrono::milliseconds patience)
    : lock_(run.folder() / "lock", patience) {
  const fs::path file = run.folder() / "lock";
  if (!lock_.held()) {
    std::string holder = read_file(file);
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    fail("path", "'{}' is being worked on by {}; one process at a time is allowed",
         run.folder().string(), holder.empty() ? "another process" : holder);
  }
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  const std::string text = fmt::format("process {} on {}\n", getpid(), host);
  const int descriptor = lock_.descriptor();
  if (ftruncate(descriptor, 0) != 0 ||
      pwrite(descriptor, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    log::warning("{} cannot be written: {}", file.string(), std::strerror(errno));
  }
}

}  // namespace switchyard
