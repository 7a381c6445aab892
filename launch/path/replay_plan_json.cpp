#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/json.h"
#include "launch/path/replay_plan.h"
#include "launch/path/sealed_json.h"

namespace switchyard {

namespace {

constexpr int format = 1;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

double number_in(const Json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

Json steps_json(const ReplayPlan& plan) {
  Json all = Json::array();
  for (const auto& [step, recorded] : plan.steps) {
    Json one = {{"step", step}, {"start", recorded.record.start}};
    for (size_t i = 0; i < StepRecord::names.size(); ++i) {
      one[StepRecord::names[i]] = number(recorded.record.values[i]);
    }
    all.push_back(one);
  }
  return all;
}

ReplayPlan parse(const Json& j, const std::string& text) {
  const Json& said = j.at("format");
  const bool is_newer = said.is_number_integer() && said > format && is_as_written(j, text, {});
  check(said == format, is_newer ? ExitCode::usage : ExitCode::storage, "replay",
        "it has format {}; this program reads {}", json_text(said), format);
  constexpr std::string_view unsealed[] = {"format", "segments", "conditions", "steps"};
  check(is_as_written(j, text, unsealed), ExitCode::storage, "replay",
        "its {} bytes are no longer those that were written, as its checksum ({}) says",
        text.size(), json_seal);
  ReplayPlan plan;
  for (const auto& s : j.at("segments")) {
    plan.segments.push_back(
        {s.at("run"), PathSpecification::from_json(json_text(s.at("specification")), s.at("run")),
         s.at("last")});
  }
  check(!plan.segments.empty(), ExitCode::storage, "replay",
        "it has no segment; one at least is needed");
  std::vector<std::pair<int64_t, std::string>> conditions;  // from that step on
  for (const auto& c : j.at("conditions")) conditions.emplace_back(c.at("from"), c.at("of"));
  size_t at = 0;
  for (const auto& s : j.at("steps")) {
    RecordedStep recorded;
    const int64_t step = s.at("step");
    recorded.record.start = s.at("start");
    for (size_t i = 0; i < StepRecord::names.size(); ++i) {
      recorded.record.values[i] = number_in(s.at(StepRecord::names[i]));
    }
    while (at + 1 < conditions.size() && conditions[at + 1].first <= step) ++at;
    if (!conditions.empty()) recorded.conditions = conditions[at].second;
    plan.steps[step] = recorded;
  }
  return plan;
}

}  // namespace

std::string to_json(const ReplayPlan& plan) {
  Json all = {{"format", format}, {"segments", Json::array()}, {"conditions", Json::array()}};
  for (const auto& s : plan.segments) {
    all["segments"].push_back(
        {{"run", s.run}, {"last", s.last}, {"specification", parse_json(s.path.to_json())}});
  }
  const std::string* before = nullptr;
  for (const auto& [step, recorded] : plan.steps) {
    if (before != nullptr && *before == recorded.conditions) continue;
    before = &recorded.conditions;
    all["conditions"].push_back({{"from", step}, {"of", recorded.conditions}});
  }
  all["steps"] = steps_json(plan);
  return sealed_text(all);
}

ReplayPlan replay_plan_from_json(const std::string& text, const std::string& file) {
  try {
    return parse(parse_json(text), text);
  } catch (const Error& problem) {
    const bool is_newer = problem.code() == ExitCode::usage;
    fail(problem.code(), "replay", "{} cannot be read: {}{}", file, problem.what(),
         is_newer ? "" : "; fork anew");
  } catch (const std::exception& problem) {
    fail(ExitCode::storage, "replay", "{} cannot be read: {}; fork anew", file, problem.what());
  }
}

}  // namespace switchyard
