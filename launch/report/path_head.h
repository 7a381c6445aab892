#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "launch/path/path_state.h"
#include "launch/path/specification.h"
#include "launch/report/report.h"

namespace switchyard {

// A line of RUN/starts.jsonl, as the page shows it.
struct ReportedStart {
  int64_t number = 0, step = 0, ranks = 0;
  std::string time, layout, device, version;
};

// What a path of a report is, without its steps.
struct PathHead {
  std::string problem;                // why it cannot be read; the rest is then empty
  ExitCode code = ExitCode::reached;  // of that problem
  std::string kind = "path";          // or "average"; "imported", a mean of such, too
  std::string state;  // finished, running, stopped, new, average, imported, waiting, damaged
  int64_t step = 0;   // the last one logged or saved
  int64_t end = 0;    // where it is to end; 0: no end is known
  std::optional<double> loss;  // of `step`
  std::optional<Schedule> schedule;
  std::vector<int64_t> members;     // of an average: the steps of its parent
  std::vector<std::string> others;  // of other paths: RUN@STEP
  std::vector<ReportedStart> starts;
  std::string imported;  // the published weights that it begins with
};

PathHead read_head(const ReportPath& path);
PathHead damaged_head(const std::exception& problem);

}  // namespace switchyard
