#include "launch/campaign/next_actions.h"

#include <algorithm>
#include <optional>

#include "core/error.h"

namespace switchyard {

namespace {

class Planner {
 public:
  Planner(const Desired& desired, const Found& found, const PlannerOptions& options)
      : desired_(desired), found_(found), options_(options) {}

  std::vector<CampaignAction> actions() const {
    std::vector<CampaignAction> all;
    const auto add = [&](auto kind, const auto& items, const auto& step_of) {
      for (const auto& item : items) {
        if (const auto step = step_of(item)) all.push_back({kind, item.name, *step});
      }
    };
    using Kind = CampaignAction::Kind;
    add(Kind::fork, desired_.paths, [&](const auto& path) { return fork_step(path); });
    add(Kind::extend, desired_.paths, [&](const auto& path) { return extension(path); });
    add(Kind::train, desired_.paths, [&](const auto& path) { return goal(path); });
    add(Kind::average, desired_.averages, [&](const auto& mean) { return can_average(mean); });
    add(Kind::score, desired_.scores, [&](const auto& score) { return can_score(score); });
    std::ranges::stable_sort(
        all, [&](const CampaignAction& a, const CampaignAction& b) { return rank(a) < rank(b); });
    return all;
  }

 private:
  using Step = std::optional<int64_t>;

  const FoundPath* find(const std::string& name) const {
    const auto found = found_.paths.find(name);
    return found == found_.paths.end() ? nullptr : &found->second;
  }

  Step fork_step(const DesiredPath& path) const {
    if (find(path.name) != nullptr) return {};
    if (path.parent.empty()) return path.weights.empty() ? Step() : Step(0);
    const auto* parent = find(path.parent);
    if (parent == nullptr || parent->step < path.fork_step) return {};
    return path.fork_step;
  }

  Step extension(const DesiredPath& path) const {
    const auto* there = find(path.name);
    if (there == nullptr || there->busy) return {};
    const auto next = std::ranges::find_if(
        path.stages, [&](const auto& stage) { return !there->stages.contains(stage.at_step); });
    if (next == path.stages.end() || next->at_step > there->step) return {};
    return next->at_step;
  }

  // Where a path is saved next for others. A step of it that something still waits for is not
  // passed.
  Step goal(const DesiredPath& path) const {
    const auto* there = find(path.name);
    if (there == nullptr) {
      if (!path.parent.empty() || !path.weights.empty()) return {};
      return *path.stops.begin();
    }
    if (there->busy || there->step >= path.end() || extension(path)) return {};
    const bool awaited = std::ranges::any_of(desired_.paths, [&](const auto& child) {
      return child.parent == path.name && fork_step(child);
    });
    if (awaited || (options_.deletes_steps && has_scores_left(path.name, there->step))) return {};
    return *path.stops.upper_bound(there->step);
  }

  bool has_scores_left(const std::string& path, int64_t step) const {
    return std::ranges::any_of(desired_.scores, [&](const auto& score) {
      return score.of == path && score.step == step && can_score(score);
    });
  }

  Step can_average(const DesiredAverage& mean) const {
    if (found_.averages.contains(mean.name)) return {};
    const bool all = std::ranges::all_of(mean.members, [&](const auto& member) {
      const auto* path = find(member.first);
      return path != nullptr && path->saved.contains(member.second);
    });
    return all ? Step(mean.members.back().second) : Step();
  }

  Step can_score(const DesiredScore& score) const {
    if (found_.scores.contains(score.name)) return {};
    if (found_.averages.contains(score.of)) return score.step;
    const auto* path = find(score.of);
    const bool is_there = path != nullptr && path->saved.contains(score.step);
    return is_there ? Step(score.step) : Step();
  }

  int rank(const CampaignAction& action) const {
    switch (action.kind) {
      case CampaignAction::Kind::fork:
        return 0;
      case CampaignAction::Kind::extend:
        return 1;
      case CampaignAction::Kind::train: {
        const auto& path = desired_.path(action.name);
        if (path.is_main) return options_.side_by_side ? 2 : 5;
        const auto* parent = desired_.find_path(path.parent);
        return parent != nullptr && parent->is_main ? 4 : 6;
      }
      default:
        return 3;
    }
  }

  const Desired& desired_;
  const Found& found_;
  PlannerOptions options_;
};

}  // namespace

std::string key_of(const CampaignAction& action) {
  switch (action.kind) {
    case CampaignAction::Kind::score:
      return "score/" + action.name;
    default:
      return action.name;
  }
}

std::string describe(const CampaignAction& action) {
  switch (action.kind) {
    case CampaignAction::Kind::fork:
      return fmt::format("fork {} at step {}", action.name, action.step);
    case CampaignAction::Kind::extend:
      return fmt::format("extend {} at step {}", action.name, action.step);
    case CampaignAction::Kind::train:
      return fmt::format("train {} up to step {}", action.name, action.step);
    case CampaignAction::Kind::average:
      return fmt::format("average {}", action.name);
    case CampaignAction::Kind::score:
      return fmt::format("score {}", action.name);
  }
  return "";
}

std::vector<CampaignAction> next_actions(const Desired& desired, const Found& found,
                                         const PlannerOptions& options) {
  return Planner(desired, found, options).actions();
}

bool is_complete(const Desired& desired, const Found& found) {
  const auto is_trained = [&](const DesiredPath& path) {
    const auto there = found.paths.find(path.name);
    return there != found.paths.end() && there->second.step >= path.end();
  };
  const auto is_made = [](const std::set<std::string>& made) {
    return [&made](const auto& wanted) { return made.contains(wanted.name); };
  };
  return std::ranges::all_of(desired.paths, is_trained) &&
         std::ranges::all_of(desired.averages, is_made(found.averages)) &&
         std::ranges::all_of(desired.scores, is_made(found.scores));
}

}  // namespace switchyard
