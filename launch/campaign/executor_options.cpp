#include <algorithm>
#include <array>

#include "core/error.h"
#include "launch/campaign/campaign_options.h"
#include "launch/slurm/option_text.h"

// The table [executor] of a campaign's file: where its jobs run.
namespace switchyard {

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
  std::string text = node.kind == FileNode::Kind::integer ? node.text : node.word();
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
    const bool known = slurm.mpi == "none" || slurm.mpi == "pmix" || slurm.mpi == "mpirun";
    check(known, "campaign",
          "{} = \"{}\"; none (ranks talk over TCP, or NCCL), pmix or mpirun is allowed",
          node->place, slurm.mpi);
  }
  for (const char* option : {"time", "partition", "account", "qos"})
    if (const auto* node = table.find(option))
      slurm.options.emplace_back(option, directive_in(*node));
  if (const auto* node = table.find("time"))
    check_limit("campaign", node->place + " =", directive_in(*node), "executor.signal-seconds",
                slurm.signal_seconds);
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
