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

namespace {

// How many, or a list of what CUDA_VISIBLE_DEVICES takes.
std::vector<std::string> gpus_in(const FileNode& node) {
  std::vector<std::string> gpus;
  if (node.kind == FileNode::Kind::integer) {
    const int64_t count = node.integer();
    check(count >= 1 && count <= 1024, "campaign", "{} = {}; 1 to 1024, or a list, is allowed",
          node.place, count);
    for (int64_t i = 0; i < count; ++i) gpus.push_back(std::to_string(i));
    return gpus;
  }
  check(node.kind == FileNode::Kind::list, "campaign", "{} = {}; a number or a list is allowed",
        node.place, node.show());
  for (const auto& item : node.items) {
    const bool is_name = item.kind == FileNode::Kind::integer ? item.integer() >= 0
                                                              : item.kind == FileNode::Kind::text;
    check(is_name && !item.text.empty() && std::ranges::count(gpus, item.text) == 0, "campaign",
          "{} = {}; the index or the name of a GPU, each once, is allowed", item.place,
          item.show());
    gpus.push_back(item.text);
  }
  check(!gpus.empty(), "campaign", "{} = []; a number or a list is allowed", node.place);
  return gpus;
}

}  // namespace

namespace {

constexpr std::array slurm_keys = {
    "tasks-per-node", "cpus-per-task", "gpus-per-node", "mpi",    "signal-seconds", "time",
    "partition",      "account",       "qos",           "sbatch", "setup"};
constexpr std::array local_keys = {"ranks", "gpus", "launcher"};

int64_t count_in(const FileNode& node, int64_t least) {
  const int64_t count = node.integer();
  check(count >= least, "campaign", "{} = {}; at least {} is allowed", node.place, count, least);
  return count;
}

// Goes between double quotes of a line of its own.
std::string directive_in(const FileNode& node) {
  const std::string text = node.kind == FileNode::Kind::integer ? node.text : node.word();
  check(!text.empty() && text.find_first_of("\"\n\\") == std::string::npos, "campaign",
        "{} = {}; a word without quotes or line breaks is allowed", node.place, node.show());
  return text;
}

void check_tasks(const FileNode& node, int64_t each, const Campaign& campaign) {
  for (const auto* layout :
       {&campaign.main_layout, &campaign.branch_layout, &campaign.score_layout}) {
    const int64_t tp =
        with_fallbacks(layout_options(), layout->options).integer("tensor-model-parallel-size");
    check(layout->ranks <= each || layout->ranks % each == 0, "campaign",
          "{} = {}, but a job has {} ranks; a divisor of that is allowed", node.place, each,
          layout->ranks);
    check(layout->ranks <= each || each % tp == 0, "campaign",
          "{} = {}, but tensor-model-parallel-size is {}: a group would cross nodes; a multiple of "
          "it is allowed",
          node.place, each, tp);
  }
}

void read_slurm(const FileNode& table, Campaign& campaign) {
  SlurmResources& slurm = campaign.resources.slurm;
  for (const char* key : local_keys) {
    const auto* node = table.find(key);
    check(node == nullptr, "campaign", "{}: this is for kind = \"local\"; with \"slurm\" {}",
          node == nullptr ? "" : node->place,
          "are allowed: jobs, tasks-per-node, cpus-per-task, "
          "gpus-per-node, mpi, signal-seconds, time, partition, account, qos, sbatch, setup");
  }
  if (const auto* node = table.find("tasks-per-node")) {
    slurm.tasks_per_node = count_in(*node, 1);
    check_tasks(*node, slurm.tasks_per_node, campaign);
  }
  if (const auto* node = table.find("cpus-per-task"))
    slurm.cpus_per_task = std::to_string(count_in(*node, 1));
  if (const auto* node = table.find("gpus-per-node")) slurm.gpus_per_node = directive_in(*node);
  if (const auto* node = table.find("signal-seconds")) slurm.signal_seconds = count_in(*node, 0);
  if (const auto* node = table.find("mpi")) {
    slurm.mpi = node->word();
    check(slurm.mpi == "none" || slurm.mpi == "pmix", "campaign",
          "{} = \"{}\"; none (ranks talk over TCP, or NCCL) or pmix is allowed", node->place,
          slurm.mpi);
  }
  for (const char* option : {"time", "partition", "account", "qos"})
    if (const auto* node = table.find(option))
      slurm.options.emplace_back(option, directive_in(*node));
  if (const auto* node = table.find("sbatch")) slurm.sbatch = node->words();
  if (const auto* node = table.find("setup")) slurm.setup = node->words();
}

}  // namespace

void read_executor(const FileNode& file, Campaign& campaign) {
  auto& r = campaign.resources;
  const int64_t widest = std::max(
      {campaign.main_layout.ranks, campaign.branch_layout.ranks, campaign.score_layout.ranks});
  if (const FileNode* table = file.find("executor")) {
    std::vector<std::string> known = {"kind", "jobs"};
    known.insert(known.end(), local_keys.begin(), local_keys.end());
    known.insert(known.end(), slurm_keys.begin(), slurm_keys.end());
    table->check_known(known);
    const auto word = [&](const char* name, const std::vector<std::string>& allowed,
                          std::string& to) {
      const auto* node = table->find(name);
      if (node == nullptr) return;
      to = node->word();
      check(std::ranges::count(allowed, to) > 0, "campaign", "{} = \"{}\"; {} is allowed",
            node->place, to, show(allowed));
    };
    word("kind", {"local", "slurm"}, r.executor);
    if (r.executor == "slurm") {
      read_slurm(*table, campaign);
    } else {
      for (const char* key : slurm_keys) {
        const auto* node = table->find(key);
        check(node == nullptr, "campaign", "{}: this is for kind = \"slurm\"",
              node == nullptr ? "" : node->place);
      }
    }
    word("launcher", {"auto", "mpirun", "launch"}, r.launcher);
    if (const auto* node = table->find("jobs")) r.jobs = count_in(*node, 1);
    if (const auto* node = table->find("gpus")) {
      r.gpus = gpus_in(*node);
      check(std::ssize(r.gpus) >= widest, "campaign",
            "{} = {}, but a job has {} ranks; at least a GPU for each is allowed", node->place,
            node->show(), widest);
    }
    if (const auto* node = table->find("ranks")) {
      r.ranks = node->integer();
      check(r.ranks >= widest, "campaign",
            "{} = {}, but a job has {}; at least as many are allowed", node->place, r.ranks,
            widest);
    }
  }
  if (r.ranks == 0)
    r.ranks = r.gpus.empty() ? r.jobs * widest : static_cast<int64_t>(r.gpus.size());
}

}  // namespace switchyard
