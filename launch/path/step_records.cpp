#include "launch/path/step_records.h"

#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"

namespace switchyard {

std::map<int64_t, StepRecord> read_step_records(const std::filesystem::path& run) {
  const auto file = run / "metrics.jsonl";
  check(std::filesystem::exists(file), ExitCode::usage, "metrics",
        "'{}' has no metrics.jsonl: no step was made", run.string());
  std::istringstream lines(read_file(file));
  std::map<int64_t, StepRecord> records;
  for (std::string line; std::getline(lines, line);) {
    const Json parsed = parse_json_or_discard(line);
    const auto step = parsed.is_object() ? parsed.find("step") : parsed.end();
    if (step == parsed.end() || !step->is_number_integer()) continue;
    StepRecord& record = records[step->get<int64_t>()];
    const auto start = parsed.find("start");
    if (start != parsed.end() && start->is_number_integer()) record.start = start->get<int64_t>();
    for (size_t i = 0; i < StepRecord::names.size(); ++i) {
      const auto value = parsed.find(StepRecord::names[i]);
      const bool is_number = value != parsed.end() && value->is_number();
      record.values[i] =
          is_number ? value->get<double>() : std::numeric_limits<double>::quiet_NaN();
    }
  }
  return records;
}

double relative_difference(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double difference = std::abs(a - b) / std::max(std::abs(a), std::abs(b));
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

}  // namespace switchyard
