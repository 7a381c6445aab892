#include "tests/faults/promises.h"

#include <fmt/format.h>

#include <sstream>

#include "core/text.h"

namespace switchyard::test {

namespace {

constexpr std::string_view checkpoints = "/checkpoints/step-";

// "RUN/checkpoints/step-00000003" and behind it `rest`.
std::optional<std::pair<std::string, int64_t>> step_named(const std::string& name,
                                                          std::string_view rest) {
  const size_t at = name.find(checkpoints);
  if (at == std::string::npos) return std::nullopt;
  std::string_view number = std::string_view(name).substr(at + checkpoints.size());
  const auto step = take_number<int64_t>(number);
  if (!step || number != rest) return std::nullopt;
  return std::pair(name.substr(0, at), *step);
}

}  // namespace

void Promises::read_line(const std::string& line) {
  std::istringstream words(line);
  std::string word, what, run;
  words >> word >> what;
  if (word == "harness:") {
    int64_t step = 0;
    if (what == "gives") words >> run;  // "up"
    if (!(words >> run)) return;
    if (what == "gives") runs_[run].gives_up = true;
    if (what == "run") now_ = run;
    if (what == "whole") whole_[run] = 0;
    if (what == "has") runs_[run].exists = true;
    if (what == "step" && words >> step) runs_[run].steps.insert(step);
    if (what == "lines" && words >> step) runs_[run].lines = step;
    if (what == "unpinned" && words >> step) runs_[run].pinned.erase(step);
    if (what == "pinned" && words >> step) runs_[run].pinned.insert(step);
    return;
  }
  const size_t at = line.find("saved step ");
  if (at == std::string::npos || now_.empty()) return;
  std::string_view number = std::string_view(line).substr(at + 11);
  const auto step = take_number<int64_t>(number);
  if (!step || !number.starts_with(" in ")) return;
  Run& saved = runs_[now_];
  saved.exists = true;
  saved.steps.insert(*step);
  saved.newest = std::max(saved.newest, *step);
}

std::string Promises::forget(const std::string& run, int64_t step) {
  const auto found = runs_.find(run);
  if (found == runs_.end() || found->second.steps.erase(step) == 0) return "";
  if (found->second.pinned.contains(step))
    return fmt::format("step {} of {} goes, which is a fork point", step, run);
  if (step == found->second.published && !found->second.gives_up)
    return fmt::format("step {} of {} goes, which is the newest", step, run);
  return "";
}

std::string Promises::hear(const Event& event) {
  if (event.change == Change::said) {
    std::istringstream lines{std::string(event.data)};
    for (std::string line; std::getline(lines, line);) read_line(line);
    return "";
  }
  if (event.change == Change::rename && event.name.ends_with("/checkpoint.h5.tmp")) {
    const auto master = step_named(event.other, "/checkpoint.h5");
    if (master) {
      Run& run = runs_[master->first];
      run.published = std::max(run.published, master->second);
    }
  }
  if (event.change == Change::unlink || event.change == Change::rename) {
    const auto master = step_named(event.name, "/checkpoint.h5");
    if (master) return forget(master->first, master->second);
    const auto folder = step_named(event.name, "");
    if (folder) return forget(folder->first, folder->second);
  }
  // One that is brought back holds again.
  if (event.change == Change::rename && event.name.ends_with(".leaving")) {
    const auto master = step_named(event.other, "/checkpoint.h5");
    if (master && runs_.contains(master->first)) runs_[master->first].steps.insert(master->second);
  }
  return "";
}

}  // namespace switchyard::test
