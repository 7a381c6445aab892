#include "launch/campaign/look.h"

#include "core/files.h"
#include "core/json.h"
#include "launch/campaign/agreement.h"
#include "launch/path/path_state.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

FoundPath found_path(const Campaign& campaign, const DesiredPath& wanted, const RunFolder& run) {
  const auto path = run.read();
  FoundPath found;
  const auto state = state_of(run, path);
  found.busy = state.running;
  found.saved = {state.saved.begin(), state.saved.end()};
  found.step = state.saved.empty() ? path.start_step() : state.saved.back();
  for (const UnreadableStep& step : state.unreadable) found.notes.push_back(describe(step));
  for (const auto& stage : wanted.stages) {
    if (has_stage(path, stage.at_step)) found.stages.insert(stage.at_step);
  }
  check_agreement(campaign, wanted, path, run.folder(), found);
  return found;
}

// The checkpoint that a score is of; empty where it is not kept any more.
std::string checkpoint_of(const Campaign& campaign, const Found& found, const DesiredScore& score) {
  const RunFolder run(folder_of(campaign, score.of));
  const auto path = found.paths.find(score.of);
  const bool is_path = path != found.paths.end();
  if (is_path && !path->second.saved.contains(score.step)) return "";
  if (!is_path && !found.averages.contains(score.of)) return "";
  const auto entry = run.checkpoint(is_path ? std::optional(score.step) : std::nullopt);
  return CheckpointReader(entry.folder).info().id;
}

// Whether what eval said is there, of this checkpoint and these data: a path may have been made
// anew, and the file may name other data.
bool is_scored(const Campaign& campaign, const Found& found, const DesiredScore& score) {
  const auto file = score_file(campaign, score.name);
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return false;
  const Json answer = parse_json_or_discard(read_file(file));
  if (!answer.is_object() || !answer.contains("loss")) return false;
  const auto data = answer.find("data_path");
  if (data == answer.end() || *data != Json(score.set.data)) return false;
  const std::string id = checkpoint_of(campaign, found, score);
  return id.empty() || answer.value("checkpoint", "") == id;
}

}  // namespace

Found look_at(const Campaign& campaign, const Desired& desired) {
  Found found;
  for (const auto& path : desired.paths) {
    const RunFolder run(folder_of(campaign, path.name));
    if (run.exists()) found.paths[path.name] = found_path(campaign, path, run);
  }
  for (const auto& mean : desired.averages) {
    const RunFolder run(folder_of(campaign, mean.name));
    if (!run.exists()) continue;
    check_agreement(campaign, mean, run);
    found.averages.insert(mean.name);
  }
  for (const auto& score : desired.scores) {
    if (is_scored(campaign, found, score)) found.scores.insert(score.name);
  }
  return found;
}

}  // namespace switchyard
