#include "launch/campaign/campaign_options.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/text.h"
#include "launch/path/average_option.h"
#include "launch/path/blend.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

const OptionSpec* spec_named(const std::vector<OptionSpec>& specs, const std::string& name) {
  const auto found = std::ranges::find_if(
      specs, [&](const auto& s) { return long_name(s) == name || short_name(s) == name; });
  return found == specs.end() ? nullptr : &*found;
}

bool names_files(const std::string& option) {
  return option == "valid-data-path" || option == "tensorboard";
}

}  // namespace

void with_place(const FileNode& node, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& problem) {
    std::string text = problem.what();
    if (text.starts_with('[')) text.erase(0, text.find("] ") + 2);
    fail("campaign", "{}: {}", node.place, text);
  }
}

std::string from_file(const FileNode& node, const Campaign& campaign) {
  const std::string& name = node.word();
  check(!name.empty() && name.find('\0') == std::string::npos, "campaign",
        "{} = \"{}\"; the name of a file or folder is allowed", node.place, name.c_str());
  return (campaign.file.parent_path() / name).lexically_normal().string();
}

std::vector<std::string> data_from_file(const FileNode& node, const Campaign& campaign) {
  const auto given = node.words();
  auto values = given;
  const bool weighted = values.size() > 1;
  for (size_t i = weighted ? 1 : 0; i < values.size(); i += weighted ? 2 : 1)
    values[i] = from_file(node.items.empty() ? node : node.items[i], campaign);
  with_place(node, [&] { parse_sources(given); });
  return values;
}

Settings options_in(const FileNode& table, const std::string& name,
                    const std::vector<OptionSpec>& specs, Campaign& campaign) {
  Settings settings;
  for (const FileEntry& entry : table.table()) {
    const FileNode& node = entry.node;
    const OptionSpec* spec = spec_named(specs, entry.name);
    if (spec == nullptr) continue;
    const std::string option = long_name(*spec);
    check(!settings.has(option), "campaign", "{}: --{} is given twice in this table", node.place,
          option);
    auto values = names_files(option) && spec->kind == OptionKind::list
                      ? data_from_file(node, campaign)
                      : node.words();
    if (names_files(option) && spec->kind == OptionKind::text && values.front() != "none")
      values.front() = from_file(node, campaign);
    if (spec->kind == OptionKind::flag && !node.flag()) continue;
    with_place(node, [&] {
      settings.set(*spec, values, entry.name);
      if (option == "average") averages_given(settings);
    });
    campaign.places[fmt::format("{}.{}", name, option)] = node.place;
  }
  return settings;
}

std::vector<OptionSpec> campaign_path_options() {
  constexpr std::array own = {"data-path", "seed", "lr-decay-style", "lr-decay-iters", "min-lr"};
  auto specs = path_options();
  std::erase_if(specs, [&](const auto& s) { return std::ranges::count(own, s.name) > 0; });
  return specs;
}

std::vector<OptionSpec> campaign_run_options() {
  constexpr std::array own = {"train-iters", "load-step", "drop-average"};
  auto specs = run_options();
  std::erase_if(specs, [&](const auto& s) {
    return s.group == OptionGroup::layout || std::ranges::count(own, s.name) > 0;
  });
  return specs;
}

std::vector<std::string> names_of(const std::vector<OptionSpec>& specs) {
  std::vector<std::string> names;
  for (const auto& spec : specs) {
    names.push_back(long_name(spec));
    if (!short_name(spec).empty()) names.push_back(short_name(spec));
  }
  return names;
}

namespace {

constexpr std::array kinds = {"main", "branch", "score"};
constexpr int64_t most_ranks = 1 << 20;

JobLayout layout_in(const FileNode& table, const std::string& name, JobLayout layout,
                    Campaign& campaign) {
  const auto specs = layout_options();
  const Settings given = options_in(table, name, specs, campaign);
  for (const auto& [option, values] : given.all()) {
    layout.options.set(*spec_named(specs, option), values);
  }
  const Settings all = with_fallbacks(specs, layout.options);
  const int64_t tp = all.integer("tensor-model-parallel-size");
  const int64_t pp = all.integer("pipeline-model-parallel-size");
  check(tp <= most_ranks && pp <= most_ranks, "campaign",
        "{}: tensor-model-parallel-size {} and pipeline-model-parallel-size {}; at most {} each "
        "is allowed",
        table.place, tp, pp, most_ranks);
  const int64_t shared = tp * pp;
  if (const auto* ranks = table.find("ranks"))
    layout.ranks = ranks->integer();
  else if (layout.ranks < shared)
    layout.ranks = shared;
  check(layout.ranks >= 1 && layout.ranks <= most_ranks && layout.ranks % shared == 0, "campaign",
        "{}: {} ranks with tensor-model-parallel-size {} and pipeline-model-parallel-size {}; a "
        "multiple of their product up to {} is allowed",
        table.place, layout.ranks, tp, pp, most_ranks);
  return layout;
}

// [layout.KIND] over [layout].
JobLayout layout_of(const FileNode* all, const char* kind, const JobLayout& common,
                    Campaign& campaign) {
  const FileNode* own = all == nullptr ? nullptr : all->find(kind);
  if (own == nullptr) return common;
  auto names = names_of(layout_options());
  names.emplace_back("ranks");
  own->check_known(names);
  return layout_in(*own, std::string("layout.") + kind, common, campaign);
}

}  // namespace

void read_layouts(const FileNode& file, Campaign& campaign) {
  const FileNode* all = file.find("layout");
  JobLayout common;
  if (all != nullptr) {
    auto names = names_of(layout_options());
    names.emplace_back("ranks");
    names.insert(names.end(), kinds.begin(), kinds.end());
    all->check_known(names);
    common = layout_in(*all, "layout", common, campaign);
  }
  campaign.main_layout = layout_of(all, "main", common, campaign);
  campaign.branch_layout = layout_of(all, "branch", common, campaign);
  campaign.score_layout = layout_of(all, "score", common, campaign);
}

}  // namespace switchyard
