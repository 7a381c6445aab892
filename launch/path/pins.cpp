#include "launch/path/pins.h"

#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "launch/path/paths_near.h"
#include "launch/path/relative_name.h"
#include "launch/path/run_folder.h"
#include "launch/path/sealed_json.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

struct Contents {
  RelativeName branch;  // from the folder of pins
  std::string checkpoint;
  std::string absolute;           // the branch's real place at that time
  std::optional<int64_t> step{};  // pins of earlier versions have it in their name alone
};

constexpr const char* step_name = "step";

bool is_whole(const Json& pin, const std::string& text) {
  constexpr std::string_view unsealed[] = {"branch", "branch_as_given", "checkpoint",
                                           "branch_absolute"};
  if (!is_as_written(pin, text, unsealed)) return false;
  if (!pin.contains("branch") || !pin.contains("checkpoint")) return false;
  return std::ranges::all_of(pin.items(), [](const auto& part) {
    return part.key() == step_name ? part.value().is_number_integer() : part.value().is_string();
  });
}

// Throws Error for what is none, or was changed.
Contents parse(const std::string& text) {
  const auto parsed = parse_json_or_discard(text);
  check(is_whole(parsed, text), "pins",
        "{} bytes that are no pin, or no longer the one that was written; expected: one JSON "
        "object with branch, checkpoint and {}",
        text.size(), json_seal);
  Contents pin{{parsed.value("branch", ""), parsed.value("branch_as_given", "")},
               parsed.value("checkpoint", ""),
               parsed.value("branch_absolute", "")};
  if (parsed.contains(step_name)) pin.step = parsed[step_name].get<int64_t>();
  return pin;
}

std::string to_text(const Contents& pin) {
  Json all = {{"branch", pin.branch.real}};
  if (!pin.branch.given.empty()) all["branch_as_given"] = pin.branch.given;
  all["checkpoint"] = pin.checkpoint;
  all["branch_absolute"] = pin.absolute;
  if (pin.step) all[step_name] = *pin.step;
  return sealed_text(all);
}

fs::path pins_of(const fs::path& run) { return run / "pins"; }

// Branches of the same last name differ by a hash of the whole name from here.
fs::path file_of(const fs::path& run, int64_t step, const RelativeName& branch) {
  const std::string last = fs::path(branch.real).filename().string().substr(0, 100);
  return pins_of(run) / fmt::format("step-{:08}--{}-{:016x}.pin", step, last,
                                    XXH3_64bits(branch.real.data(), branch.real.size()));
}

std::optional<int64_t> step_of(const fs::path& file) {
  const std::string name = file.filename().string();
  if (!name.starts_with("step-") || file.extension() != ".pin") return std::nullopt;
  std::string_view rest = std::string_view(name).substr(5);
  return take_number<int64_t>(rest);
}

// A directory that is absent or empty may be a file system that is not mounted now.
bool may_be_out_of_sight(const fs::path& place) {
  std::error_code problem;
  const bool empty = fs::is_empty(place.parent_path(), problem);
  return problem || empty;
}

enum class Answer : uint8_t { no, unknown, yes };

// A fork point that the parent had not saved needs the checkpoint before it until it is saved in
// the branch; a fork of an average may need its newest member's moments, too.
bool needs(const fs::path& branch, const LineageEntry& fork, const Pin& pin) {
  if (fork.replayed) {
    return fork.replayed->saved_step() == pin.step && fork.replayed->checkpoint == pin.checkpoint &&
           !RunFolder(branch).latest();
  }
  if (fork.saved_step() != pin.step) return false;
  const bool of_moments =
      fork.average && !pin.checkpoint.empty() && fork.average->checkpoint == pin.checkpoint;
  return fork.checkpoint == pin.checkpoint || of_moments;
}

// Whether the path there was forked at this step of this checkpoint, or is made from it.
Answer is_branch(const fs::path& place, const Pin& pin) {
  try {
    const auto path = RunFolder(place).read();
    const bool is_branch = path.kind == "path" && !path.lineage.empty();
    return is_branch && needs(place, path.lineage.back(), pin) ? Answer::yes : Answer::no;
  } catch (const std::exception&) {
    return Answer::unknown;
  }
}

// The same of the branch's own place, where a folder without path.json is a fork in the making.
Answer is_there(const fs::path& place, const Pin& pin) {
  std::error_code problem;
  const auto status = fs::status(place, problem);
  if (status.type() == fs::file_type::not_found) {
    // A link may lead to a file system that is not mounted now.
    if (fs::is_symlink(fs::symlink_status(place, problem))) return Answer::unknown;
    return may_be_out_of_sight(place) ? Answer::unknown : Answer::no;
  }
  if (!problem && !fs::is_directory(status)) return Answer::no;
  return is_branch(place, pin);
}

struct Lookup {
  Pin pin;
  std::vector<fs::path> places;
  Answer answer = Answer::unknown;  // of the branch's own place
};

Lookup look_up(const fs::path& file, int64_t step) {
  Lookup found{{.step = step, .file = file}, {}};
  std::optional<Contents> contents;
  try {
    contents = parse(read_file(file));
  } catch (const Error& problem) {  // it counts
    found.pin.problem = fmt::format("{}, which keeps step {} for a branch, cannot be used: {}",
                                    file.string(), step, problem.what());
  }
  if (!contents) return found;
  if (contents->step.value_or(step) != step) {
    found.pin.step = *contents->step;
    const fs::path right =
        file_of(file.parent_path().parent_path(), found.pin.step, contents->branch);
    found.pin.problem = fmt::format(
        "{} keeps step {} for a branch, but has the name of a pin of step {}; rename it to {}, or "
        "remove it where that is there",
        file.string(), found.pin.step, step, right.filename().string());
  }
  found.pin.checkpoint = contents->checkpoint;
  found.places = places(contents->branch, file.parent_path());
  found.pin.branch = found.places.empty() ? fs::path() : found.places.front();
  // Told by what lies there, as the run may have been moved away from the branch.
  const fs::path absolute = contents->absolute;
  if (!absolute.empty() && is_branch(absolute, found.pin) == Answer::yes) {
    found.places.push_back(absolute);
  }
  found.answer = Answer::no;
  for (const fs::path& place : found.places) {
    const Answer answer = is_there(place, found.pin);
    if (answer <= found.answer) continue;
    found.pin.branch = place;
    found.answer = answer;
  }
  return found;
}

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored);
}

// The pin of a branch that is not in its place: one for each path of its fork point nearby that
// has no pin of its own, as it may have been renamed or moved; else its own.
std::vector<Pin> search(const fs::path& run, const Lookup& lost, const std::vector<Pin>& present) {
  std::vector<fs::path> around = {run};
  around.insert(around.end(), lost.places.begin(), lost.places.end());
  Pin own = lost.pin;
  own.counts = lost.answer == Answer::unknown;
  // Many paths may begin at a random start, and a pin that cannot be read names no branch.
  if (own.checkpoint.empty()) return {own};
  std::vector<Pin> pins;
  for (const fs::path& folder : paths_near(around)) {
    if (is_same(folder, run)) continue;
    const Answer answer = is_branch(folder, own);
    // What cannot be read and lies where the branch lay may be it.
    own.counts |=
        answer == Answer::unknown && is_same(folder.parent_path(), own.branch.parent_path());
    const auto is_here = [&](const Pin& pin) { return is_same(pin.branch, folder); };
    if (answer != Answer::yes || std::ranges::any_of(pins, is_here)) continue;
    const bool pinned = std::ranges::any_of(
        present, [&](const Pin& pin) { return pin.step == own.step && is_here(pin); });
    if (pinned) continue;
    pins.push_back(own);
    pins.back().branch = folder;
    pins.back().counts = true;
    pins.back().moved = lost.answer == Answer::no;
  }
  if (pins.empty()) pins.push_back(own);
  return pins;
}

}  // namespace

std::vector<Pin> read_pins(const fs::path& run) {
  std::vector<Pin> pins;
  std::vector<Lookup> lost;
  std::error_code problem;
  if (!fs::is_directory(pins_of(run), problem)) return pins;
  for (fs::directory_iterator it(pins_of(run), problem), end; !problem && it != end;
       it.increment(problem)) {
    const auto step = step_of(it->path());
    if (!step) continue;
    auto found = look_up(it->path(), *step);
    if (found.answer == Answer::yes) {
      pins.push_back(found.pin);
    } else {
      lost.push_back(std::move(found));
    }
  }
  check(!problem, "file", "{} cannot be looked into: {}", pins_of(run).string(), problem.message());
  const std::vector<Pin> present = pins;
  for (const Lookup& each : lost)
    std::ranges::move(search(run, each, present), std::back_inserter(pins));
  return pins;
}

bool is_pinned(const fs::path& run, int64_t step) {
  return std::ranges::any_of(read_pins(run),
                             [&](const Pin& pin) { return pin.step == step && pin.counts; });
}

bool is_pinned_for(const fs::path& run, int64_t step, const fs::path& branch) {
  return std::ranges::any_of(read_pins(run), [&](const Pin& pin) {
    std::error_code ignored;
    const bool is_anothers =
        !pin.branch.empty() && fs::exists(pin.branch, ignored) && !is_same(pin.branch, branch);
    return pin.step == step && pin.counts && !is_anothers;
  });
}

bool may_pin(const fs::path& run) {
  std::error_code ignored;
  const fs::path pins = pins_of(run);
  if (!fs::exists(pins, ignored)) return access(run.c_str(), W_OK) == 0;
  return fs::is_directory(pins, ignored) && access(pins.c_str(), W_OK | X_OK) == 0;
}

void follow_branches(const fs::path& run) {
  auto pins = read_pins(run);
  std::erase_if(pins, [](const Pin& pin) { return !pin.moved; });
  try {
    for (const Pin& pin : pins) write_pin(run, pin.step, pin.checkpoint, pin.branch);
  } catch (const Error&) {
    return;  // found anew each time
  }
  std::error_code ignored;
  for (const Pin& pin : pins) {
    // The same again is a branch that was made anew in its place during the search.
    const bool same = pin.file == file_of(run, pin.step, relative_name(pin.branch, pins_of(run)));
    if (!same) fs::remove(pin.file, ignored);
  }
}

FileLock lock_pins(const fs::path& run) {
  return FileLock(run / "pins.lock", std::chrono::minutes(1));
}

FileLock hold_pins(const fs::path& run) {
  FileLock lock = lock_pins(run);
  check(lock.held(), "file", "{} has been locked for a minute by another process",
        (run / "pins.lock").string());
  return lock;
}

void write_pin(const fs::path& run, int64_t step, const std::string& checkpoint,
               const fs::path& branch) {
  std::error_code ignored;
  Contents pin{relative_name(branch, pins_of(run)), checkpoint,
               fs::weakly_canonical(fs::absolute(branch), ignored).string(), step};
  if (!is_text(pin.absolute)) pin.absolute.clear();
  const fs::path file = file_of(run, step, pin.branch);
  make_folder(pins_of(run));
  const FileLock lock = hold_pins(run);  // one that is there may be about to go with its step
  if (fs::exists(file, ignored) && read_file(file) == to_text(pin)) return;
  write_file_atomically(file, to_text(pin));
}

void remove_pin(const fs::path& run, int64_t step, const fs::path& branch) {
  std::error_code ignored;
  const fs::path file = file_of(run, step, relative_name(branch, pins_of(run)));
  fs::remove(file, ignored);
  fs::remove(temporary_of(file), ignored);  // of a fork that could neither finish nor remove it
}

}  // namespace switchyard
