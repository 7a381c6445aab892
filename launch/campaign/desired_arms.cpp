#include "launch/campaign/desired_arms.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "launch/path/average_option.h"
#include "launch/path/specification.h"
#include "launch/path/specification_from_weights.h"

namespace switchyard {

void SeedPaths::add_version(size_t version, const std::string& arm, const std::string& of,
                            int64_t step, std::vector<PathPart> parts, const std::string& weights) {
  DesiredVersion added{.version = version,
                       .arm = arm,
                       .seed = seed,
                       .of = of,
                       .step = step,
                       .parts = std::move(parts),
                       .scores = {}};
  const auto& v = campaign.versions[version];
  for (const auto& set : v.held_out) {
    const std::string name = prefix + arm + '/' + v.name + '/' + set.name;
    desired.scores.push_back({name, of, step, weights, set});
    added.scores.push_back(name);
  }
  desired.versions.push_back(std::move(added));
}

void set_option(Settings& to, const std::string& name, std::vector<std::string> values) {
  static const auto specs = path_options();
  to.set(*std::ranges::find(specs, name, &OptionSpec::name), std::move(values));
}

Settings new_path_options(const SeedPaths& of, const Settings& arm, std::vector<std::string> data) {
  Settings options = of.campaign.path;
  for (const auto& [name, values] : arm.all()) {
    if (name != "lr-decay-style" && name != "min-lr") set_option(options, name, values);
  }
  set_option(options, "seed", {std::to_string(of.seed)});
  set_option(options, "data-path", std::move(data));
  const bool of_weights = !of.campaign.from.empty();
  const std::string missing =
      of_weights ? missing_from_weights(options) : missing_for_new_path(options);
  check(missing.empty(), "campaign", "{}: train.{} is missing; a path from {} needs it",
        of.campaign.file.string(), missing, of_weights ? "published weights" : "a random start");
  return options;
}

void add_decay(Settings& to, const Settings& decay, int64_t steps) {
  set_option(to, "lr-decay-style", {decay.text("lr-decay-style")});
  set_option(to, "lr-decay-iters", {std::to_string(steps)});
  set_option(to, "min-lr", {decay.has("min-lr") ? decay.text("min-lr") : "0"});
}

namespace {

constexpr const char* rate = "lr";

int64_t begin_of(const Campaign& campaign, size_t version) {
  return version == 0 ? 0 : campaign.end_of(version - 1);
}

// What a fork where a version begins is given; without data of its own those before go on.
void set_data(Settings& options, const Version& version) {
  if (!version.data.empty()) set_option(options, "data-path", version.data);
}

std::string name_in(const SeedPaths& of, const char* arm, const std::string& name) {
  return of.prefix + arm + '/' + name;
}

bool has_branches(const Campaign& campaign) {
  return campaign.has_arm(Arm::path_switching) || campaign.has_arm(Arm::soup);
}

// A branch of `parent` that decays at the end of a version. Where it begins with the version's data
// the parent may not have been given them: they are the branch's own, in the same order. A share of
// the whole first version leaves nothing to fork from: that is a path of its own.
DesiredPath branch_of(const SeedPaths& of, const std::string& parent, size_t version,
                      const std::string& name) {
  const auto& campaign = of.campaign;
  const auto& v = campaign.versions[version];
  const int64_t fork = campaign.fork_of(version);
  DesiredPath branch{.name = name, .version = version};
  if (fork == 0) {
    branch.options = new_path_options(of, {}, campaign.data_of(version));
  } else {
    branch.parent = parent;
    branch.fork_step = fork;
    if (fork == begin_of(campaign, version)) set_data(branch.options, v);
  }
  add_decay(branch.options, campaign.decay, v.branch_steps);
  branch.table = "branch";
  branch.stops = {campaign.end_of(version)};
  return branch;
}

}  // namespace

bool needs_main(const Campaign& campaign) {
  // Alone, a version whose share is all of its steps has no main path.
  const bool only_first = campaign.versions.size() == 1 && campaign.fork_of(0) == 0;
  return campaign.has_arm(Arm::averaged_trunk) || (has_branches(campaign) && !only_first);
}

DesiredPath main_path(const SeedPaths& of) {
  const auto& campaign = of.campaign;
  DesiredPath main{.name = of.prefix + "main", .is_main = true, .table = "train"};
  main.options = new_path_options(of, {}, campaign.versions.front().data);
  const bool averaged = campaign.has_arm(Arm::averaged_trunk);
  for (size_t i = 0; i < campaign.versions.size(); ++i) {
    const bool is_last = i + 1 == campaign.versions.size();
    if (has_branches(campaign) && campaign.fork_of(i) > 0) main.stops.insert(campaign.fork_of(i));
    if (averaged || !is_last) main.stops.insert(campaign.end_of(i));
  }
  for (size_t i = 1; i < campaign.versions.size(); ++i) {
    const int64_t at = campaign.end_of(i - 1);
    const auto& data = campaign.versions[i].data;
    if (at < main.end() && !data.empty()) main.stages.push_back({at, data, i});
  }
  return main;
}

void add_path_switching(SeedPaths& to) {
  const std::string main = to.prefix + "main";
  std::vector<PathPart> branches;
  for (size_t i = 0; i < to.campaign.versions.size(); ++i) {
    const auto& v = to.campaign.versions[i];
    auto branch = branch_of(to, main, i, name_in(to, "path-switching", v.name));
    branches.push_back({branch.name, branch.end()});
    auto parts = branches;
    if (branch.fork_step > 0) parts.insert(parts.begin(), PathPart{main, branch.fork_step});
    to.add_version(i, "path-switching", branch.name, branch.end(), std::move(parts));
    to.desired.paths.push_back(std::move(branch));
  }
}

namespace {

// Sets and what each counts for, in the order in which they came.
using Weights = std::vector<std::pair<std::string, double>>;

// Adds a version's data, which count for its steps.
void add_weights(Weights& to, const std::vector<std::string>& data, int64_t steps) {
  const auto weight_at = [&](size_t i) {
    return data.size() == 1 ? 1.0 : *parse_number<double>(data[i - 1]);
  };
  const size_t stride = data.size() == 1 ? 1 : 2;
  double sum = 0;
  for (size_t i = stride - 1; i < data.size(); i += stride) sum += weight_at(i);
  for (size_t i = stride - 1; i < data.size(); i += stride) {
    const double weight = weight_at(i) / sum * static_cast<double>(steps);
    const auto same = std::ranges::find(to, data[i], [](const auto& each) { return each.first; });
    if (same == to.end()) {
      to.emplace_back(data[i], weight);
    } else {
      same->second += weight;
    }
  }
}

std::vector<std::string> blend_of(const Weights& weights) {
  if (weights.size() == 1) return {weights.front().first};
  std::vector<std::string> data;
  for (const auto& [prefix, weight] : weights) {
    data.push_back(canonical_real(weight));
    data.push_back(prefix);
  }
  return data;
}

}  // namespace

void add_ptfs(SeedPaths& to) {
  const auto& campaign = to.campaign;
  std::vector<PathPart> parts;
  Weights all;
  for (size_t i = 0; i < campaign.versions.size(); ++i) {
    add_weights(all, campaign.data_of(i), campaign.versions[i].steps);
    DesiredPath path{
        .name = name_in(to, "ptfs", campaign.versions[i].name), .version = i, .table = "arm.ptfs"};
    path.options = new_path_options(to, campaign.ptfs, blend_of(all));
    add_decay(path.options, campaign.ptfs, campaign.end_of(i));
    path.stops = {campaign.end_of(i)};
    parts.push_back({path.name, path.end()});
    to.add_version(i, "ptfs", path.name, path.end(), parts);
    to.desired.paths.push_back(std::move(path));
  }
}

void add_cpt(SeedPaths& to) {
  const auto& campaign = to.campaign;
  std::vector<PathPart> parts;
  for (size_t i = 0; i < campaign.versions.size(); ++i) {
    const auto& v = campaign.versions[i];
    DesiredPath path{.name = name_in(to, "cpt", v.name), .version = i, .table = "arm.cpt"};
    const Settings whole = new_path_options(to, campaign.cpt, campaign.data_of(i));
    if (i == 0) {
      path.options = whole;
    } else {
      path.parent = parts.back().path;
      path.fork_step = campaign.end_of(i - 1);
      set_data(path.options, v);
      set_option(path.options, rate, {whole.text(rate)});
      const bool warms_up = whole.has("lr-warmup-iters");
      set_option(path.options, "lr-warmup-iters", {warms_up ? whole.text("lr-warmup-iters") : "0"});
    }
    add_decay(path.options, campaign.cpt, v.steps);
    path.stops = {campaign.end_of(i)};
    parts.push_back({path.name, path.end()});
    to.add_version(i, "cpt", path.name, path.end(), parts);
    to.desired.paths.push_back(std::move(path));
  }
}

void add_wsd_s(SeedPaths& to) {
  const auto& campaign = to.campaign;
  std::vector<PathPart> parts;
  std::string last;  // the version before
  for (size_t i = 0; i < campaign.versions.size(); ++i) {
    const auto& v = campaign.versions[i];
    const Settings whole = new_path_options(to, campaign.wsd_s, campaign.data_of(i));
    const int64_t begin = begin_of(campaign, i), fork = campaign.fork_of(i);
    // Goes on from the version before, whose rate has decayed, or starts.
    const auto from_last = [&](const std::string& name) {
      DesiredPath path{.name = name, .version = i, .table = "arm.wsd-s"};
      path.options = whole;
      if (last.empty()) return path;
      path.parent = last;
      path.fork_step = begin;
      path.options = {};
      set_data(path.options, v);
      set_option(path.options, rate, {whole.text(rate)});
      return path;
    };
    DesiredPath branch;
    if (fork > begin) {
      auto stable = from_last(name_in(to, "wsd-s", v.name + "-stable"));
      if (!last.empty()) set_option(stable.options, "lr-decay-style", {"constant"});
      stable.stops = {fork};
      branch = {.name = name_in(to, "wsd-s", v.name),
                .parent = stable.name,
                .fork_step = fork,
                .version = i,
                .table = "arm.wsd-s"};
      parts.push_back({stable.name, fork});
      to.desired.paths.push_back(std::move(stable));
    } else {
      branch = from_last(name_in(to, "wsd-s", v.name));
    }
    add_decay(branch.options, campaign.wsd_s, v.branch_steps);
    branch.stops = {campaign.end_of(i)};
    parts.push_back({branch.name, branch.end()});
    last = branch.name;
    to.add_version(i, "wsd-s", branch.name, branch.end(), parts);
    to.desired.paths.push_back(std::move(branch));
  }
}

void add_averaged_trunk(SeedPaths& to) {
  const auto& campaign = to.campaign;
  const std::string main = to.prefix + "main";
  for (size_t i = 0; i < campaign.versions.size(); ++i) {
    const auto& v = campaign.versions[i];
    DesiredAverage mean{.name = name_in(to, "averaged-trunk", v.name),
                        .members = {},
                        .weights_of = campaign.averaged_trunk.weights_of};
    const int64_t every = campaign.averaged_trunk.every, end = campaign.end_of(i);
    for (int64_t k = campaign.window_of(i) / every - 1; k >= 0; --k)
      mean.members.emplace_back(main, end - k * every);
    to.add_version(i, "averaged-trunk", mean.name, end, {{main, end}});
    to.desired.averages.push_back(std::move(mean));
  }
}

void add_soup(SeedPaths& to) {
  const auto& campaign = to.campaign;
  const std::string main = to.prefix + "main";
  std::vector<PathPart> branches;
  for (size_t i = 0; i < campaign.versions.size(); ++i) {
    const auto& v = campaign.versions[i];
    DesiredAverage soup{
        .name = name_in(to, "soup", v.name), .members = {}, .weights_of = campaign.soup.weights_of};
    for (const int64_t seed : campaign.soup.seeds) {
      auto branch = branch_of(to, main, i, fmt::format("{}-seed-{}", soup.name, seed));
      set_option(branch.options, "seed", {std::to_string(seed)});
      soup.members.emplace_back(branch.name, branch.end());
      branches.push_back({branch.name, branch.end()});
      to.desired.paths.push_back(std::move(branch));
    }
    auto parts = branches;
    parts.insert(parts.begin(), PathPart{main, campaign.fork_of(i)});
    to.add_version(i, "soup", soup.name, campaign.end_of(i), std::move(parts));
    to.desired.averages.push_back(std::move(soup));
  }
}

namespace {

// Whether an average that is kept has taken weights by then.
bool has_value(const AverageSpec& average, int64_t step) {
  const int64_t every = average.every;
  const int64_t first = std::max(every, (average.from + every - 1) / every * every);
  return first <= step;
}

}  // namespace

// The raw weights where a version ends, and the averages that are kept of them.
void add_main_scores(SeedPaths& to) {
  const auto& campaign = to.campaign;
  const std::string name = to.prefix + "main";
  const auto& main = to.desired.path(name);
  for (size_t i = 0; i < campaign.versions.size(); ++i) {
    const int64_t end = campaign.end_of(i);
    if (!main.stops.contains(end)) continue;
    to.add_version(i, "main", name, end, {{name, end}});
    for (const auto& average : averages_given(campaign.main_run)) {
      if (!has_value(average, end)) continue;
      to.add_version(i, "main-" + average.name, name, end, {{name, end}},
                     "average/" + average.name);
    }
  }
}

}  // namespace switchyard
