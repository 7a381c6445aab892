#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace switchyard {

// A path of the report's tree: one that is there, or one that a campaign will make.
struct ReportPath {
  std::string name;              // as shown
  std::filesystem::path folder;  // of a path or an average
  bool is_there = true;          // otherwise the rest is what is planned
  std::string parent{};          // the name of the path that it forks from; empty: a random start
  int64_t fork_step = 0;
  int64_t last_step = 0;  // where it is to end; 0: no end is known
};

// Scores of a version on held-out text, as `eval` gives them.
struct HeldOutScore {
  std::string set;  // its name
  double loss = 0;  // mean over tokens, nats
  double perplexity = 0;
  double bits_per_byte = 0;  // 0: the set does not say how many bytes it holds
  int64_t tokens = 0;
};

// A version of a campaign: what one arm of the comparison, with one seed, makes of the data so far.
struct ReportVersion {
  std::string name;  // "v2"; the same for all arms and seeds
  std::string arm;   // "path-switching", "ptfs", ...
  int64_t seed = 0;
  std::string path;   // the ReportPath::name whose last step it is
  std::string state;  // "finished", "running", "stopped", "waiting"
  std::vector<HeldOutScore> scores;
  // Optimizer steps of the arm from its first up to and with this version: as planned, and as its
  // paths' metrics count them. `redone`: made, and lost to a kill or given up; `replayed`: made
  // again on the way to a fork point that was not saved. Neither is among those counted.
  int64_t planned_steps = 0;
  int64_t counted_steps = 0;
  int64_t redone_steps = 0;
  int64_t replayed_steps = 0;
  // What pre-training each version up to this one from scratch takes: the sum over j <= i of the
  // steps of D_1 ... D_j (arXiv 2410.04103).
  int64_t steps_from_scratch = 0;
};

struct ReportInput {
  std::string title;
  std::vector<ReportPath> paths;        // parents before those that fork from them
  std::vector<ReportVersion> versions;  // empty: runs alone
};

// The paths RUN... as a report of their own: what each forks from, where that is among them.
// Folders that are no path are searched for paths. Throws Error.
ReportInput report_of_runs(const std::vector<std::filesystem::path>& runs);

// One HTML page that needs nothing else, neither files nor a network. Throws Error where a path
// that is there cannot be read.
std::string report_html(const ReportInput& input);

// FOLDER/{paths,steps,validations,starts,versions}.csv: all that the page shows, every step of it.
void write_report_csv(const ReportInput& input, const std::filesystem::path& folder);

}  // namespace switchyard
