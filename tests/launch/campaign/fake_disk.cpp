#include "tests/launch/campaign/fake_disk.h"

#include <algorithm>

namespace switchyard::test {

namespace {

using Kind = CampaignAction::Kind;

}  // namespace

std::set<std::string> FakeDisk::jobs() const {
  std::set<std::string> keys;
  for (const auto& [key, action] : jobs_) keys.insert(key);
  return keys;
}

void FakeDisk::begin(const CampaignAction& action) {
  SCOPED_TRACE(describe(action));
  if (action.kind == Kind::fork) return fork(desired_.path(action.name));
  if (action.kind == Kind::extend) {
    auto& path = found_.paths.at(action.name);
    EXPECT_FALSE(path.busy);
    EXPECT_LE(path.step, action.step) << "steps behind it were made of other data";
    EXPECT_TRUE(path.stages.insert(action.step).second);
    return;
  }
  if (action.kind == Kind::train) train(action);
  EXPECT_TRUE(jobs_.emplace(key_of(action), action).second) << "twice at a time";
}

void FakeDisk::fork(const DesiredPath& path) {
  EXPECT_FALSE(found_.paths.contains(path.name));
  const auto& parent = found_.paths.at(path.parent);
  EXPECT_TRUE(parent.saved.contains(path.fork_step)) << "it would be replayed";
  found_.paths[path.name] = {.step = path.fork_step};
}

void FakeDisk::train(const CampaignAction& action) {
  const auto& path = desired_.path(action.name);
  if (path.parent.empty()) found_.paths.try_emplace(path.name);  // made by its first start
  auto& there = found_.paths.at(path.name);
  EXPECT_FALSE(there.busy);
  EXPECT_LT(there.step, action.step);
  for (const auto& stage : path.stages)
    EXPECT_TRUE(action.step <= stage.at_step || there.stages.contains(stage.at_step))
        << "it passes " << stage.at_step << " without its data";
  for (const auto& child : desired_.paths) {
    if (child.parent != path.name || child.fork_step >= action.step) continue;
    EXPECT_TRUE(found_.paths.contains(child.name)) << "it passes the fork of " << child.name;
  }
  there.busy = true;
}

// Averages are made of saved steps, scores of what is there.
void FakeDisk::advance(const std::string& key) {
  const CampaignAction action = jobs_.at(key);
  SCOPED_TRACE(describe(action));
  if (action.kind == Kind::train) {
    const int64_t from = found_.paths.at(action.name).step;
    save(action.name, std::min(action.step, (from / interval_ + 1) * interval_));
    if (found_.paths.at(action.name).step < action.step) return;
    found_.paths.at(action.name).busy = false;
  } else if (action.kind == Kind::average) {
    const auto mean = std::ranges::find(desired_.averages, action.name, &DesiredAverage::name);
    for (const auto& [path, step] : mean->members)
      EXPECT_TRUE(found_.paths.at(path).saved.contains(step)) << path << '@' << step;
    EXPECT_TRUE(found_.averages.insert(action.name).second);
  } else {
    const auto score = std::ranges::find(desired_.scores, action.name, &DesiredScore::name);
    EXPECT_TRUE(found_.averages.contains(score->of) ||
                found_.paths.at(score->of).saved.contains(score->step));
    EXPECT_TRUE(found_.scores.insert(action.name).second);
  }
  jobs_.erase(key);
}

void FakeDisk::kill(const std::string& key) {
  const CampaignAction action = jobs_.at(key);
  jobs_.erase(key);
  if (action.kind == Kind::train) found_.paths.at(action.name).busy = false;
}

void FakeDisk::stop(const std::string& key) {
  const CampaignAction action = jobs_.at(key);
  const bool trains = action.kind == Kind::train;
  if (trains && found_.paths.at(action.name).step + 1 < action.step)
    save(action.name, found_.paths.at(action.name).step + 1);
  kill(key);
}

bool FakeDisk::is_needed(const std::string& name, int64_t step) const {
  return step % interval_ == 0 || std::ranges::any_of(desired_.paths, [&](const auto& child) {
           return child.parent == name && child.fork_step == step &&
                  found_.paths.contains(child.name);
         });
}

void FakeDisk::save(const std::string& name, int64_t step) {
  auto& path = found_.paths.at(name);
  saved_parts_[name].emplace_back(path.step, step);
  path.step = step;
  if (deletes_) std::erase_if(path.saved, [&](int64_t old) { return !is_needed(name, old); });
  path.saved.insert(step);
}

void FakeDisk::expect_each_step_once() const {
  for (const auto& path : desired_.paths) {
    SCOPED_TRACE(path.name);
    int64_t at = path.fork_step;
    for (const auto& [from, to] : saved_parts_.at(path.name)) {
      EXPECT_EQ(from, at);
      at = to;
    }
    EXPECT_EQ(at, path.end());
  }
}

}  // namespace switchyard::test
