#include "tools/inspect_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "launch/path/average_members.h"
#include "launch/path/imported.h"
#include "launch/path/pins.h"
#include "launch/path/resumable.h"
#include "parallel/checkpoint/state_groups.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// As a user would type it here.
std::string shown(const fs::path& folder) {
  const std::string near = fs::proximate(folder.lexically_normal()).string();
  return near.size() < folder.string().size() ? near : folder.string();
}

std::string show_model(const PathSpecification& path) {
  const GptConfig& m = path.model;
  return fmt::format("{}: {} layers x {} channels, {} heads, vocabulary {}", m.parameters(),
                     m.layers, m.hidden, m.heads, m.vocabulary);
}

std::vector<std::string> show_data(const PathSpecification& path) {
  std::vector<std::string> lines;
  for (const auto& stage : path.stages) {
    std::string blend;
    for (const auto& source : stage.sources) {
      if (!blend.empty()) blend += " + ";
      if (stage.sources.size() > 1) blend += fmt::format("{:g} ", source.weight);
      blend += shown(source.prefix);
    }
    lines.push_back(fmt::format("from sample {}: {}", stage.first_sample, blend));
  }
  return lines;
}

std::string show_schedule(const Schedule& s, int64_t step) {
  std::string text = fmt::format("{:g}", s.maximum);
  if (s.warmup > 0) text = fmt::format("warm-up to {} at step {}", text, s.warmup_end());
  if (s.style != DecayStyle::constant) {
    text += fmt::format("; {} from {:g} at step {} to {:g} at step {}", name_of(s.style),
                        s.decay_from, s.decay_begin, s.minimum, s.decay_begin + s.decay_iters);
  }
  return text + (step > 0 ? fmt::format("; {:.4g} at step {}", learning_rate(s, step), step) : "");
}

// A line for each fork, from the random start to here.
std::vector<std::string> show_lineage(const RunFolder& run, const PathSpecification& path,
                                      int64_t step) {
  std::vector<std::string> lines = {fmt::format("{} to step {}", run.folder().string(), step)};
  fs::path child = run.folder();
  for (auto fork = path.lineage.rbegin(); fork != path.lineage.rend(); ++fork) {
    child = place_of({fork->path, fork->path_as_given}, child);
    if (fork->imported) {
      lines.push_back(fmt::format("{} at step {}, {}", shown(child), fork->saved_step(),
                                  fork->imported->mean_of.empty() ? "imported" : "a mean"));
      lines.push_back(fmt::format("published weights: {}", describe(*fork->imported)));
      std::ranges::reverse(lines);
      return lines;
    }
    lines.push_back(fmt::format("{} to step {}, {} samples{}", shown(child), fork->step,
                                fork->samples, describe_replayed(*fork)));
  }
  lines.emplace_back("random start");
  std::ranges::reverse(lines);
  return lines;
}

std::vector<std::string> show_pins(const std::vector<PinnedBranch>& pins) {
  std::vector<std::string> lines;
  constexpr size_t most = 5;
  for (size_t i = 0; i < std::min(pins.size(), most); ++i) {
    lines.push_back(fmt::format("step {} for {}", pins[i].step, pins[i].branch));
  }
  if (pins.size() > most) lines.push_back(fmt::format("and {} more", pins.size() - most));
  return lines;
}

std::vector<std::string> show_mean(const RunFolder& run, const CheckpointReader& checkpoint) {
  const auto source = source_of_average(run, checkpoint);
  if (source.steps.empty()) return {};
  const std::string weights = weights_of_average(checkpoint.info());
  const bool is_one = source.steps.size() == 1 && source.others.empty();
  std::vector<std::string> lines = {
      fmt::format("{} {}{} at {} {}", is_one ? "the weights of" : "the mean of",
                  weights == groups::model ? "" : weights + " of ", shown(source.run),
                  is_one ? "step" : "the steps", show_steps(source.steps))};
  for (const auto& other : source.others) lines.push_back("and of " + other);
  const std::string weights_of = weights_of_in(checkpoint.info());
  if (weights_of != "uniform") lines.push_back("--weights-of " + weights_of);
  return lines;
}

// What was imported, and of which files.
std::vector<std::string> show_import(const CheckpointInfo& info) {
  const auto weights = imported_weights_in(info);
  std::vector<std::string> lines = {fmt::format("published weights: {}", describe(weights))};
  constexpr size_t most = 5;
  for (size_t i = 0; i < std::min(weights.files.size(), most); ++i) {
    const auto& file = weights.files[i];
    lines.push_back(fmt::format("{}, {} bytes, sha256 {}", file.name, file.bytes, file.sha256));
  }
  if (weights.files.size() > most) {
    lines.push_back(fmt::format("and {} more files", weights.files.size() - most));
  }
  return lines;
}

// Those that --weights takes; in a line of their own the others.
std::vector<std::string> show_groups(const CheckpointReader& checkpoint) {
  std::string weights, others;
  for (const StoredGroup& group : stored_groups(checkpoint)) {
    std::string& text = group.has_all_weights ? weights : others;
    if (!text.empty()) text += ", ";
    text +=
        group.has_all_weights ? fmt::format("{} {}", group.name, name_of(group.dtype)) : group.name;
  }
  std::vector<std::string> lines = {weights, others};
  std::erase(lines, "");
  return lines;
}

}  // namespace

std::vector<PinnedBranch> pinned_branches(const RunFolder& run) {
  std::set<std::pair<int64_t, std::string>> all;  // a branch that moved may have two pins
  for (const Pin& pin : read_pins(run.folder())) {
    if (pin.counts) all.emplace(pin.step, shown(pin.branch));
  }
  std::vector<PinnedBranch> pinned;
  pinned.reserve(all.size());
  for (const auto& [step, branch] : all) pinned.push_back({step, branch});
  return pinned;
}

Rows summarize(const RunFolder& run, const PathSpecification& path, const PathState& state,
               const CheckpointReader* checkpoint) {
  const int64_t step = checkpoint != nullptr ? checkpoint->info().step : state.step;
  const bool is_average = path.kind == "average", is_path = path.kind == "path";
  Rows rows;
  const auto add = [&](const char* label, std::vector<std::string> lines) {
    if (!lines.empty()) rows.emplace_back(label, std::move(lines));
  };
  add("path",
      {fmt::format("{}, {}", run.folder().string(),
                   is_path ? word_of(state, path)
                           : describe_kind(path) + (is_average ? ", which is never trained on"
                                                               : ", which paths begin with"))});
  const int64_t end = path.decay_end();
  add("step", {fmt::format("{}{}{}", step, end > 0 && is_path ? fmt::format(" of {}", end) : "",
                           state.step > step ? fmt::format("; trained to {}", state.step) : "")});
  if (checkpoint != nullptr && is_path) {
    add("loss", {fmt::format("{:.5f}", checkpoint->info().loss)});
  }
  if (path.has_training_options()) {
    add("samples", {fmt::format("{}, {} a step", path.samples_at(step), path.global_batch())});
    add("tokens", {fmt::format("{}, {} a sample", path.tokens_at(step), path.sequence_length())});
  } else {
    add("tokens", {fmt::format("{} a sample", path.sequence_length())});
  }
  add("parameters", {show_model(path)});
  if (path.has_training_options()) add("dtype", {std::string(name_of(path.dtype()))});
  if (checkpoint != nullptr) add("groups", show_groups(*checkpoint));
  add("data", show_data(path));
  if (is_path) add("schedule", {show_schedule(path.schedule, step)});
  if (is_average && checkpoint != nullptr) {
    add("lineage", show_mean(run, *checkpoint));
  } else if (is_path) {
    add("lineage", show_lineage(run, path, step));
  }
  if (!path.has_training_options() && checkpoint != nullptr) {
    add("made of", show_import(checkpoint->info()));
  }
  add("saved steps", {state.saved.empty() ? "none" : show_steps(state.saved)});
  const auto without = is_path ? steps_without_moments(run) : std::vector<int64_t>();
  if (!without.empty()) add("no moments", {show_steps(without)});
  add("branches", show_pins(pinned_branches(run)));
  return rows;
}

}  // namespace switchyard
