#include "launch/campaign/look.h"

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
  for (const auto& stage : wanted.stages) {
    if (has_stage(path, stage.at_step)) found.stages.insert(stage.at_step);
  }
  check_agreement(campaign, wanted, path, run.folder(), found);
  return found;
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
    std::error_code ignored;
    if (fs::exists(score_file(campaign, score.name), ignored)) found.scores.insert(score.name);
  }
  return found;
}

}  // namespace switchyard
