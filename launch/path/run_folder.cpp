#include "launch/path/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "core/text.h"
#include "launch/path/foreign_folder.h"
#include "launch/path/paths_near.h"
#include "launch/path/relative_name.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/moments.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr const char* saved_name = "saved";
constexpr size_t longest_name = PATH_MAX - 1;

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
  const auto step = parse_number<int64_t>(std::string_view(text).substr(at + 1));
  check(step.value_or(-1) >= 0 && at > 0, "path",
        "'{}'; RUN or RUN@STEP is allowed, with a step of at least 0", text);
  return {text.substr(0, at), step};
}

RunFolder::RunFolder(fs::path folder)
    : folder_(std::move(folder)), held_(std::make_shared<std::function<void()>>()) {
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
    return name != "lock" && name != "lease" && name != "matmul.jsonl" && name != "path.json.tmp" &&
           name != replay_file && name != "replay.json.tmp" && name != "slurm";
  });
}

void RunFolder::check_name() const {
  std::string name = fs::absolute(folder_).lexically_normal().string();
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  check(name.size() <= longest_name, "path",
        "'{}' has {} bytes with all folders above it, and the system takes {}: a place nearer to "
        "the root of the file system",
        folder_.string(), name.size(), longest_name);
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

namespace {

// The part of a name, from its end, that is there but is no folder; empty: none.
fs::path file_in_the_way(const fs::path& folder) {
  std::error_code ignored;
  for (fs::path at = fs::absolute(folder); at.has_relative_path(); at = at.parent_path()) {
    const fs::file_status status = fs::status(at, ignored);
    if (fs::exists(status)) return fs::is_directory(status) ? fs::path() : at;
  }
  return {};
}

}  // namespace

void RunFolder::check_unused() const {
  const fs::path file = file_in_the_way(folder_);
  check(file.empty(), "path", "'{}' cannot be a folder: '{}' is a file; a new name is allowed",
        folder_.string(), file.string());
  const std::string foreign = foreign_contents(folder_);
  check(foreign.empty(), "path",
        "'{}' has no path.json and {}; a new path needs a folder that is new or empty, or has only "
        "what goes with a run: '{}' is allowed",
        folder_.string(), foreign, (folder_ / "run").string());
  for (const fs::path& left : {checkpoints(), folder_ / "metrics.jsonl"}) {
    std::error_code ignored;
    const bool holds = fs::exists(left, ignored) && !fs::is_empty(left, ignored);
    check(!holds, "path",
          "'{}' has no path.json but holds {}, which another path left; a new path needs a folder "
          "of its own",
          folder_.string(), left.filename().string());
  }
}

void RunFolder::note_saved() const {
  std::error_code ignored;
  if (fs::exists(folder_ / saved_name, ignored)) return;
  write_file_atomically(folder_ / saved_name, "steps are saved in checkpoints/\n", "path");
}

void RunFolder::forget_saved() const {
  std::error_code ignored;
  fs::remove(folder_ / saved_name, ignored);
}

void RunFolder::check_none_saved() const {
  std::error_code ignored;
  check(!fs::exists(folder_ / saved_name, ignored), ExitCode::storage, "path",
        "steps of '{}' were saved, but {} holds none; is its file system there? If they are gone "
        "for good, remove {} to begin again",
        folder_.string(), checkpoints().string(), (folder_ / saved_name).string());
}

// Of the longest name that a save makes, and of its folder.
void RunFolder::check_can_save() const {
  const fs::path shards = checkpoint_folder(checkpoints(), 0) / shards_name;
  const size_t longest = temporary_of(shards / shard_name(0, "moments")).string().size();
  check(longest <= longest_name, "path",
        "'{}' has {} bytes; with what a save makes in it names have {}, and the system takes {}: a "
        "shorter name, or one within the folder that train is started in",
        folder_.string(), folder_.string().size(), longest, longest_name);
  std::error_code ignored;
  const fs::path folder = checkpoints();
  const bool there = fs::exists(folder, ignored);
  check(there || !fs::is_symlink(folder, ignored), ExitCode::storage, "path",
        "{} is a link to {}, which is not there; is its file system?", folder.string(),
        fs::read_symlink(folder, ignored).string());
  const int refused = there && access(folder.c_str(), W_OK | X_OK) != 0 ? errno : 0;
  check(refused == 0, ExitCode::storage, "path", "no step can be saved in {}: {}", folder.string(),
        std::strerror(refused));
}

namespace {

void check_is_run(const RunFolder& run) {
  if (run.exists()) return;
  std::error_code ignored;
  const std::string name = run.folder().string();
  const bool published = fs::exists(run.folder() / "config.json", ignored);
  fail("path", "there is no path in '{}' (it has no path.json){}", name,
       published ? fmt::format("; it has a config.json, as a Hugging Face folder has: 'convert "
                               "--from {} --to RUN' makes a run of it",
                               name)
                 : "");
}

}  // namespace

std::string RunFolder::read_text() const {
  check_is_run(*this);
  return read_file(folder_ / "path.json");
}

PathSpecification RunFolder::read() const {
  return PathSpecification::from_json(read_text(), (folder_ / "path.json").string());
}

void RunFolder::write(const PathSpecification& path) const {
  make_folder(folder_);
  check_held();
  write_file_atomically(folder_ / "path.json", path.to_json() + "\n");
}

namespace {

// Only published weights, and their means, are saved as a step 0.
void refuse_step_0(const RunFolder& run) {
  const auto path = run.read();
  if (path.kind != "path") return;
  const std::string name = run.folder().string();
  if (path.has_random_start()) {
    fail("path",
         "step 0 of '{}' is its random start, of which nothing is saved: eval scores it, and "
         "'fork {}@0 NEW' makes a path that starts there",
         name, name);
  }
  const LineageEntry& last = path.lineage.back();
  const std::string parent = place_as_named({last.path, last.path_as_given}, run.folder()).string();
  if (path.begins_with_weights()) {
    fail("path",
         "step 0 of '{}' are the published weights that it begins with, of which it saves nothing: "
         "they are step {} of '{}'; 'eval {}@0' scores them",
         name, last.saved_step(), parent, name);
  }
  fail("path", "'{}' begins at step {}; step 0 is one of the path that it was forked from, '{}'",
       name, path.start_step(), parent);
}

}  // namespace

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

CheckpointEntry RunFolder::checkpoint(std::optional<int64_t> step) const {
  check_is_run(*this);
  if (step == 0 && !has(0)) refuse_step_0(*this);
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
      if (!has_moments(*entry)) continue;
      CheckpointReader(entry->folder).verify();
      return entry->step;
    } catch (const Error& problem) {
      log::warning("step {} is damaged too: {}", entry->step, problem.what());
    }
  }
  return std::nullopt;
}

bool has_moments(const CheckpointEntry& entry) {
  return entry.complete && moments_of(entry.folder) != StoredMoments::none;
}

}  // namespace switchyard
