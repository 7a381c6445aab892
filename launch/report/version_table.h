#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "launch/report/report.h"

namespace switchyard {

// A number over seeds: NaN where there is none.
struct Spread {
  double mean = std::numeric_limits<double>::quiet_NaN();
  double deviation = mean;  // the sample's standard deviation; NaN for a single seed
  double least = mean, most = mean;
  int64_t seeds = 0;
};
Spread spread_of(const std::vector<double>& values);

// A version of an arm on one held-out set.
struct ScoreRow {
  std::string set;
  Spread loss, perplexity, bits_per_byte;
  // Of the loss to the baseline's. Seed by seed where both have it; otherwise of the means, with no
  // spread and 0 seeds. Nothing for the baseline itself.
  Spread difference;
};

// What one arm's seeds make of a version.
struct VersionRow {
  std::string version, arm;
  std::vector<int64_t> seeds;
  std::map<std::string, int64_t> states;      // how many seeds are finished, running, ...
  std::vector<ScoreRow> scores;               // of those sets that have one
  Spread planned, counted, redone, replayed;  // optimizer steps, as in ReportVersion
  // Of pre-training every version up to this one from scratch: counted where all seeds are
  // finished, or else planned.
  Spread share;
  bool share_is_planned = false;
};

// Optimizer steps of a whole arm, a seed: those of its last version.
struct ArmRow {
  std::string arm;
  Spread planned, counted, redone, replayed;
};

struct VersionTable {
  std::string baseline;           // the arm `ptfs`, or else the first; empty for a single arm
  std::vector<std::string> sets;  // in the order in which they are met
  std::vector<VersionRow> rows;   // by version, then by arm, in the order in which they are met
  std::vector<ArmRow> arms;
};
VersionTable version_table(const std::vector<ReportVersion>& versions);

}  // namespace switchyard
