#include <algorithm>
#include <array>
#include <numeric>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "launch/campaign/campaign.h"
#include "launch/campaign/campaign_options.h"
#include "launch/campaign/campaign_versions.h"
#include "launch/path/average_weights.h"
#include "launch/path/specification.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr std::array all_arms = {Arm::path_switching, Arm::ptfs,           Arm::cpt,
                                 Arm::wsd_s,          Arm::averaged_trunk, Arm::soup};

const OptionSpec& path_spec(const std::string& name) {
  static const auto specs = path_options();
  return *std::ranges::find(specs, name, &OptionSpec::name);
}

void read_arms(const FileNode& file, Campaign& campaign) {
  const auto* node = file.find("arms");
  campaign.arms = {Arm::path_switching};
  if (node == nullptr) return;
  campaign.arms.clear();
  for (const auto& name : node->words()) {
    const auto arm = std::ranges::find(all_arms, name, [](Arm each) { return name_of(each); });
    check(arm != all_arms.end() && !campaign.has_arm(*arm), "campaign",
          "{} = {}; path-switching, ptfs, cpt, wsd-s, averaged-trunk and soup, each once, are "
          "allowed",
          node->place, node->show());
    campaign.arms.push_back(*arm);
  }
}

void read_seeds(const FileNode& file, const FileNode& train, Campaign& campaign) {
  const auto* first = train.find("seed");
  campaign.seeds = {first != nullptr ? first->integer()
                                     : *parse_number<int64_t>(path_spec("seed").fallback)};
  const auto* node = file.find("seeds");
  if (node != nullptr) {
    if (first != nullptr)
      fail("campaign",
           "{} = {}, and seeds are given; one of them is allowed (the first seed's "
           "paths lie in the folder itself)",
           first->place, first->show());
    campaign.seeds = node->integers();
  } else {
    node = first;
  }
  if (node != nullptr) campaign.places["train.seed"] = node->place;
  auto sorted = campaign.seeds;
  std::ranges::sort(sorted);
  if (sorted.front() >= 0 && std::ranges::adjacent_find(sorted) == sorted.end()) return;
  fail("campaign", "{} = {}; whole numbers from 0 on, each once, are allowed", node->place,
       node->show());
}

// A branch's decay: in [branch], and over it in the table of an arm.
void read_decay(const FileNode& table, const std::string& name, const char* style, Settings& to,
                Campaign& campaign) {
  if (!to.has("lr-decay-style")) to.set(path_spec("lr-decay-style"), {style});
  const Settings given =
      options_in(table, name, {path_spec("lr-decay-style"), path_spec("min-lr")}, campaign);
  for (const auto& [option, values] : given.all()) to.set(path_spec(option), values);
  check(to.text("lr-decay-style") != "constant", "campaign",
        "{}: \"constant\"; a version ends with a decay: cosine, linear and 1-sqrt are allowed",
        campaign.places[name + ".lr-decay-style"]);
}

std::vector<std::string> joined(std::vector<std::string> names,
                                const std::vector<std::string>& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

void read_train(const FileNode& train, Campaign& campaign) {
  const auto path = campaign_path_options(), run = campaign_run_options();
  const std::map<std::string, std::string> elsewhere = {
      {"data-path", "each [[version]] has its own"},
      {"train-iters", "each [[version]] has its steps"},
      {"lr-decay-style", "[branch] has it"},
      {"lr-decay-iters", "it follows from steps and share"},
      {"min-lr", "[branch] has it"}};
  for (const auto& [name, node] : train.table()) {
    const auto found = elsewhere.find(name);
    check(found == elsewhere.end(), "campaign", "{} = {}; it is not allowed here: {}", node.place,
          node.show(), found == elsewhere.end() ? "" : found->second);
    const auto layout = names_of(layout_options());
    check(std::ranges::count(layout, name) == 0, "campaign",
          "{} = {}; it is not allowed here: [layout] has it", node.place, node.show());
  }
  train.check_known(joined(joined(names_of(path), names_of(run)), {"seed"}));
  campaign.path = options_in(train, "train", path, campaign);
  campaign.main_run = campaign.branch_run = options_in(train, "train", run, campaign);
}

const FileNode& table_of(const FileNode& file, const char* name) {
  static const FileNode none;
  const auto* found = file.find(name);
  return found == nullptr ? none : *found;
}

void read_runs(const FileNode& file, Campaign& campaign) {
  const auto specs = campaign_run_options();
  const auto over = [&](const char* table, Settings& run) {
    const Settings given = options_in(table_of(file, table), table, specs, campaign);
    for (const auto& spec : specs) {
      if (given.has(spec.name)) run.set(spec, given.list(spec.name));
    }
  };
  const auto& main = table_of(file, "main");
  main.check_known(joined(names_of(specs), {"score"}));
  over("main", campaign.main_run);
  if (const auto* score = main.find("score")) campaign.scores_main = score->flag();
  const auto& branch = table_of(file, "branch");
  branch.check_known(
      joined(names_of(specs), {"share", "share-growth", "lr-decay-style", "min-lr"}));
  over("branch", campaign.branch_run);
}

// [arm.ptfs] and the like: options of a path, which hold for this arm alone.
void read_arm_options(const FileNode& arms, Campaign& campaign) {
  struct Table {
    const char* name;
    const char* style;
    Settings& to;
  };
  const std::string common = campaign.decay.text("lr-decay-style");
  for (const auto& [name, style, to] :
       {Table{"ptfs", "cosine", campaign.ptfs}, Table{"cpt", "cosine", campaign.cpt},
        Table{"wsd-s", common.c_str(), campaign.wsd_s}}) {
    const std::string full = std::string("arm.") + name;
    const auto& table = table_of(arms, name);
    table.check_known(joined(names_of(campaign_path_options()), {"lr-decay-style", "min-lr"}));
    to = options_in(table, full, campaign_path_options(), campaign);
    if (campaign.decay.has("min-lr")) to.set(path_spec("min-lr"), {campaign.decay.text("min-lr")});
    read_decay(table, full, style, to, campaign);
  }
}

// A decay leads to less than the rate that it begins at.
void check_floors(const Campaign& campaign) {
  const auto check_in = [&](const Settings& arm, const Settings& decay, const std::string& table) {
    const Settings& path = arm.has("lr") ? arm : campaign.path;
    if (!path.has("lr") || !decay.has("min-lr")) return;
    const auto own = campaign.places.find(table + ".min-lr");
    const auto& place = own != campaign.places.end() ? own : campaign.places.find("branch.min-lr");
    check(decay.real("min-lr") < path.real("lr"), "campaign",
          "{} = {}, but lr is {}; less is allowed", place->second, decay.text("min-lr"),
          path.text("lr"));
  };
  check_in({}, campaign.decay, "branch");
  if (campaign.has_arm(Arm::ptfs)) check_in(campaign.ptfs, campaign.ptfs, "arm.ptfs");
  if (campaign.has_arm(Arm::cpt)) check_in(campaign.cpt, campaign.cpt, "arm.cpt");
  if (campaign.has_arm(Arm::wsd_s)) check_in(campaign.wsd_s, campaign.wsd_s, "arm.wsd-s");
}

// What each of so many checkpoints counts for: refused here, not when all are trained.
void check_weights(const FileNode* node, size_t members, bool of_one_path) {
  if (node == nullptr) return;
  AverageSteps of{.steps = std::vector<int64_t>(members), .of_one_path = of_one_path};
  std::iota(of.steps.begin(), of.steps.end(), 1);
  with_place(*node, [&] { average_coefficients(node->word(), of); });
}

// The members of each mean are saved, and lie behind the random start.
void check_windows(const FileNode& every, const Campaign& campaign) {
  const int64_t each = campaign.averaged_trunk.every;
  for (size_t i = 0; i < campaign.versions.size(); ++i) {
    const int64_t end = campaign.end_of(i), window = campaign.window_of(i);
    check(
        each >= 1 && end % each == 0 && window % each == 0 && window >= 2 * each, "campaign",
        "{} = {}, but version {} ends at step {} and {} steps are averaged; a divisor of both, at "
        "most half of the second, is allowed",
        every.place, each, campaign.versions[i].name, end, window);
    check(window <= end, "campaign",
          "{}: {} steps are averaged, but version {} ends at step {}; at most as many are allowed",
          every.place, window, campaign.versions[i].name, end);
  }
}

void read_averaged_trunk(const FileNode& arms, Campaign& campaign) {
  const auto& table = table_of(arms, "averaged-trunk");
  table.check_known({"every", "window", "weights-of"});
  auto& trunk = campaign.averaged_trunk;
  const auto* weights = table.find("weights-of");
  trunk.weights_of = weights == nullptr ? "1-sqrt" : weights->word();
  if (const auto* window = table.find("window")) {
    trunk.window = window->integer();
    check(trunk.window >= 1, "campaign", "{} = {}; at least 1 is allowed", window->place,
          trunk.window);
  }
  if (!campaign.has_arm(Arm::averaged_trunk)) return;
  const auto* every = table.find("every");
  check(every != nullptr, "campaign",
        "{}: arm.averaged-trunk.every is missing, the steps between the checkpoints averaged",
        campaign.file.string());
  trunk.every = every->integer();
  check_windows(*every, campaign);
  for (size_t i = 0; i < campaign.versions.size(); ++i)
    check_weights(weights, static_cast<size_t>(campaign.window_of(i) / trunk.every), true);
}

void read_soup(const FileNode& arms, Campaign& campaign) {
  const auto& table = table_of(arms, "soup");
  table.check_known({"seeds", "weights-of"});
  const auto* weights = table.find("weights-of");
  campaign.soup.weights_of = weights == nullptr ? "uniform" : weights->word();
  const auto* seeds = table.find("seeds");
  if (seeds != nullptr) campaign.soup.seeds = seeds->integers();
  if (!campaign.has_arm(Arm::soup)) return;
  auto sorted = campaign.soup.seeds;
  std::ranges::sort(sorted);
  check(sorted.size() >= 2 && std::ranges::adjacent_find(sorted) == sorted.end() && sorted[0] >= 0,
        "campaign", "{}; two or more seeds of branches, each once, are allowed",
        seeds == nullptr ? campaign.file.string() + ": arm.soup.seeds is missing"
                         : fmt::format("{} = {}", seeds->place, seeds->show()));
  check(campaign.fork_of(0) > 0, "campaign",
        "{}: a soup's branches begin where the main path is, but the share of the first version is "
        "{}; a smaller one is allowed",
        campaign.versions[0].place, campaign.versions[0].share);
  check_weights(weights, sorted.size(), false);
}

// Averages of the main path's checkpoints need these to be saved and to stay.
void keep_members(Campaign& campaign) {
  if (!campaign.has_arm(Arm::averaged_trunk)) return;
  const auto settle = [&](const char* name, bool is_needed) {
    static const auto specs = run_options();
    const auto& spec = *std::ranges::find(specs, name, &OptionSpec::name);
    auto& run = campaign.main_run;
    const int64_t every = campaign.averaged_trunk.every;
    if (is_needed && !run.has(name)) run.set(spec, {std::to_string(every)});
    if (!is_needed) return;
    const int64_t interval = run.integer(name);
    const auto main = campaign.places.find(std::string("main.") + name);
    const auto train = campaign.places.find(std::string("train.") + name);
    const auto& place = main != campaign.places.end() ? main : train;
    check(interval > 0 && every % interval == 0, "campaign",
          "{} = {}, but arm.averaged-trunk.every is {}; a divisor of it is allowed",
          place == campaign.places.end() ? name : place->second, interval, every);
  };
  settle("save-interval", true);
  const bool deletes = campaign.main_run.has("keep-checkpoints") &&
                       campaign.main_run.integer("keep-checkpoints") > 0;
  settle("keep-every", deletes);
}

void check_warm_up(const Campaign& campaign) {
  const auto check_in = [&](const Settings& path, const std::string& table, int64_t steps,
                            const std::string& what) {
    if (!path.has("lr-warmup-iters")) return;
    const int64_t warmup = path.integer("lr-warmup-iters");
    const auto place = campaign.places.find(table + ".lr-warmup-iters");
    check(warmup < steps, "campaign", "{} = {}, but {}; fewer are allowed",
          place == campaign.places.end() ? "lr-warmup-iters" : place->second, warmup, what);
  };
  const auto& first = campaign.versions.front();
  check_in(campaign.path, "train", first.steps,
           fmt::format("version {} has {} steps", first.name, first.steps));
  check_in(campaign.ptfs, "arm.ptfs", first.steps,
           fmt::format("version {} has {} steps", first.name, first.steps));
  if (!campaign.has_arm(Arm::cpt)) return;
  for (const auto& v : campaign.versions) {
    const bool own = campaign.cpt.has("lr-warmup-iters");
    check_in(own ? campaign.cpt : campaign.path, own ? "arm.cpt" : "train", v.steps,
             fmt::format("version {} has {} steps, and cpt warms up anew", v.name, v.steps));
  }
}

}  // namespace

std::string name_of(Arm arm) {
  switch (arm) {
    case Arm::path_switching:
      return "path-switching";
    case Arm::ptfs:
      return "ptfs";
    case Arm::cpt:
      return "cpt";
    case Arm::wsd_s:
      return "wsd-s";
    case Arm::averaged_trunk:
      return "averaged-trunk";
    case Arm::soup:
      return "soup";
  }
  return "";
}

bool Campaign::has_arm(Arm arm) const { return std::ranges::count(arms, arm) > 0; }

int64_t Campaign::end_of(size_t version) const {
  int64_t steps = 0;
  for (size_t i = 0; i <= version; ++i) steps += versions[i].steps;
  return steps;
}

int64_t Campaign::fork_of(size_t version) const {
  return end_of(version) - versions[version].branch_steps;
}

const std::vector<std::string>& Campaign::data_of(size_t version) const {
  while (version > 0 && versions[version].data.empty()) --version;
  return versions[version].data;
}

int64_t Campaign::window_of(size_t version) const {
  return averaged_trunk.window > 0 ? averaged_trunk.window : versions[version].branch_steps;
}

Campaign parse_campaign(const std::string& text, const fs::path& file) {
  Campaign campaign;
  campaign.file = fs::weakly_canonical(fs::absolute(file));
  const FileNode all = parse_toml(text, file);
  all.check_known({"folder", "arms", "seeds", "from", "train", "main", "branch", "arm", "held-out",
                   "version", "layout", "executor"});
  const auto* folder = all.find("folder");
  check(folder != nullptr, "campaign", "{}: folder is missing, where the paths are to lie",
        file.string());
  campaign.folder = from_file(*folder, campaign);
  campaign.places["folder"] = folder->place;
  if (const auto* from = all.find("from")) {
    campaign.from = from_file(*from, campaign);
    campaign.places["from"] = from->place;
  }
  const auto& train = table_of(all, "train");
  read_train(train, campaign);
  read_arms(all, campaign);
  read_seeds(all, train, campaign);
  read_runs(all, campaign);
  read_decay(table_of(all, "branch"), "branch", "1-sqrt", campaign.decay, campaign);
  read_versions(all, campaign);
  const auto& arms = table_of(all, "arm");
  arms.check_known({"ptfs", "cpt", "wsd-s", "averaged-trunk", "soup"});
  read_arm_options(arms, campaign);
  check_floors(campaign);
  read_averaged_trunk(arms, campaign);
  read_soup(arms, campaign);
  keep_members(campaign);
  check_warm_up(campaign);
  read_layouts(all, campaign);
  read_executor(all, campaign);
  return campaign;
}

Campaign read_campaign(const fs::path& file) { return parse_campaign(read_file(file), file); }

}  // namespace switchyard
