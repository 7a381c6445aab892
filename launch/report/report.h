#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "optim/schedule.h"

namespace switchyard {

// A path of the report's tree: one that is there, or one that a campaign will make.
struct ReportPath {
  std::string name;              // as shown
  std::filesystem::path folder;  // of a path or an average
  bool is_there = true;          // otherwise the rest is what is planned
  std::string parent{};          // the name of the path that it forks from; empty: a random start
  int64_t fork_step = 0;
  int64_t last_step = 0;  // where it is to end; 0: no end is known
  // The rates that one which is not there yet will have; a path that is there says its own.
  std::optional<Schedule> schedule{};
  std::string imported{};  // of one that is not there yet: published weights that it begins with
  // Why it cannot be read, where the search has found that out: it is shown in its place.
  std::string problem{};
  ExitCode code = ExitCode::reached;  // of that problem
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
  std::string path{};   // the ReportPath::name whose last step it is
  std::string state{};  // "finished", "running", "stopped", "waiting"
  std::vector<HeldOutScore> scores{};
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
// Folders that are no path are searched for paths. Throws Error for a file, a folder that is not
// there, RUN@STEP, and where no path is found.
ReportInput report_of_runs(const std::vector<std::string>& runs);

// One HTML page that needs nothing else, neither files nor a network. A path that cannot be read is
// shown with the reason. Takes no lock: what a trainer appends meanwhile may be there or not.
std::string report_html(const ReportInput& input);

// Of the paths that are there and cannot be read: name and reason, and the error's exit code.
struct ReportProblem {
  std::string text;
  ExitCode code;
};
std::vector<ReportProblem> report_problems(const ReportInput& input);

// Throw Error where the page's file or the tables' folder cannot be what they are to be: a folder,
// a file; in one that is not there; over files that no report has written.
void check_report_output(const std::filesystem::path& file);
void check_report_csv(const std::filesystem::path& folder);

// FOLDER/{paths,steps,validations,starts,versions,discarded}.csv: all that the page shows, every
// step of it; numbers read back to the same bits. The last one holds the lines of futures that were
// given up.
void write_report_csv(const ReportInput& input, const std::filesystem::path& folder);

}  // namespace switchyard
