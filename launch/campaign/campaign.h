#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "launch/path/options.h"

namespace switchyard {

// How versions are made of the data so far; arms of a comparison. T_i: the steps of version i,
// S_i = T_1 + ... + T_i, a: the share of a version's steps that its decay has, L: the maximal rate.
enum class Arm : uint8_t {
  path_switching,  // arXiv 2410.04103: a main path at L, for each version a branch that decays over
                   // its last a T_i steps
  ptfs,            // pre-training from scratch: each version from a random start over D_1 ... D_i
                   // shuffled together, S_i steps, warm-up and full decay
  cpt,             // continual pre-training: from the last version's end over D_i alone, T_i steps,
                   // warm-up to L and full decay
  wsd_s,           // arXiv 2410.05192: from the last version's end at L, decay over the last a T_i
  averaged_trunk,  // arXiv 2507.17634: the mean of the main path's last steps, no branch
  soup,            // the mean of several branches that differ in the order of their samples
};
std::string name_of(Arm arm);

struct HeldOutSet {
  std::string name;
  std::vector<std::string> data;  // prefixes of token sets
};

struct Version {
  std::string name;
  int64_t steps = 0;              // T_i
  double share = 0;               // a
  int64_t branch_steps = 0;       // a T_i, to the nearest step
  std::vector<std::string> data;  // as --data-path takes it; empty: those before go on
  std::vector<HeldOutSet> held_out;
  std::string place;  // "FILE:LINE: version[N]"
};

// The ranks of a job and how they share its work (layout_options).
struct JobLayout {
  int64_t ranks = 1;
  Settings options;
};

// What Slurm is asked for, for each job.
struct SlurmResources {
  int64_t tasks_per_node = 0;  // 0: all ranks of a job on one node
  std::string cpus_per_task{}, gpus_per_node{};
  std::string mpi = "none";      // how ranks start: "none" (TCP), "pmix", "mpirun"
  int64_t signal_seconds = 300;  // before the time limit, when a job is asked to save
  std::vector<std::pair<std::string, std::string>> options{};  // time, partition, account, qos
  std::vector<std::string> sbatch{};                           // further lines behind #SBATCH
  std::vector<std::string> setup{};                            // of the shell, before all else
};

struct CampaignResources {
  std::string executor = "local";
  int64_t jobs = 1;   // side by side, at most
  int64_t ranks = 0;  // of all jobs together
  std::vector<std::string> gpus;
  std::string launcher = "auto";
  SlurmResources slurm;
};

// What a campaign's file says; docs/campaigns.md has its keys. Names of files are absolute.
struct Campaign {
  std::filesystem::path file, folder;
  std::string from;  // RUN or RUN@STEP of published weights; empty: paths have a random start
  std::vector<Version> versions;
  std::vector<Arm> arms;
  std::vector<int64_t> seeds;  // the first one's paths lie in the folder itself
  Settings path;               // what a path from a random start is made of, without data and seed
  Settings decay;              // of a branch: lr-decay-style, min-lr
  Settings ptfs, cpt, wsd_s;   // path options of these arms, over `path`
  Settings main_run, branch_run;  // run options
  bool scores_main = false;       // whether the main path is scored where versions end
  struct {
    int64_t every = 0;
    int64_t window = 0;  // the steps that are averaged; 0: those that a branch would have
    std::string weights_of;
  } averaged_trunk;
  struct {
    std::vector<int64_t> seeds;
    std::string weights_of;
  } soup;
  JobLayout main_layout, branch_layout, score_layout;
  CampaignResources resources;
  // Where an option is said, by the table and its name ("train.lr"): "FILE:LINE: train.lr".
  std::map<std::string, std::string> places;

  bool has_arm(Arm arm) const;
  int64_t end_of(size_t version) const;                           // S_i, counted from 0
  int64_t fork_of(size_t version) const;                          // S_i - a T_i
  const std::vector<std::string>& data_of(size_t version) const;  // its own, or those before
  int64_t window_of(size_t version) const;                        // of the averaged trunk, in steps
};

// Reads the file. Throws Error with file, line and key for what cannot be: nothing on the disk but
// the file itself is looked at.
Campaign read_campaign(const std::filesystem::path& file);
Campaign parse_campaign(const std::string& text, const std::filesystem::path& file);

}  // namespace switchyard
