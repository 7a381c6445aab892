#include "launch/report/version_table.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace switchyard {

namespace {

using Versions = std::vector<const ReportVersion*>;

template <class Value>
void add_once(std::vector<Value>& all, const Value& value) {
  if (std::ranges::find(all, value) == all.end()) all.push_back(value);
}

Spread over(const Versions& seeds, const std::function<double(const ReportVersion&)>& value) {
  std::vector<double> values;
  for (const auto* each : seeds) values.push_back(value(*each));
  return spread_of(values);
}

Spread steps_over(const Versions& seeds, int64_t ReportVersion::*steps) {
  return over(seeds, [&](const ReportVersion& v) { return static_cast<double>(v.*steps); });
}

const HeldOutScore* score_on(const ReportVersion& version, const std::string& set) {
  const auto found = std::ranges::find(version.scores, set, &HeldOutScore::set);
  return found == version.scores.end() ? nullptr : &*found;
}

std::vector<double> scores_on(const Versions& seeds, const std::string& set,
                              double HeldOutScore::*value) {
  std::vector<double> values;
  for (const auto* each : seeds) {
    if (const auto* score = score_on(*each, set)) values.push_back(score->*value);
  }
  return values;
}

Spread difference_to(const Versions& baseline, const Versions& seeds, const std::string& set) {
  std::vector<double> differences;
  for (const auto* each : seeds) {
    const auto same = std::ranges::find(baseline, each->seed, &ReportVersion::seed);
    if (same == baseline.end()) continue;
    const auto *a = score_on(*each, set), *b = score_on(**same, set);
    if (a != nullptr && b != nullptr) differences.push_back(a->loss - b->loss);
  }
  if (!differences.empty()) return spread_of(differences);
  Spread of_means;
  of_means.mean = spread_of(scores_on(seeds, set, &HeldOutScore::loss)).mean -
                  spread_of(scores_on(baseline, set, &HeldOutScore::loss)).mean;
  return of_means;
}

ScoreRow score_row(const Versions& seeds, const std::string& set) {
  ScoreRow row{.set = set,
               .loss = spread_of(scores_on(seeds, set, &HeldOutScore::loss)),
               .perplexity = spread_of(scores_on(seeds, set, &HeldOutScore::perplexity)),
               .bits_per_byte = {},
               .difference = {}};
  std::vector<double> bits = scores_on(seeds, set, &HeldOutScore::bits_per_byte);
  std::erase(bits, 0.0);  // not known
  row.bits_per_byte = spread_of(bits);
  return row;
}

bool is_finished(const ReportVersion* version) { return version->state == "finished"; }

VersionRow version_row(const Versions& seeds, const std::vector<std::string>& sets) {
  VersionRow row;
  row.version = seeds.front()->name;
  row.arm = seeds.front()->arm;
  for (const auto* each : seeds) {
    row.seeds.push_back(each->seed);
    ++row.states[each->state];
  }
  for (const auto& set : sets) {
    ScoreRow scores = score_row(seeds, set);
    if (scores.loss.seeds > 0) row.scores.push_back(std::move(scores));
  }
  row.planned = steps_over(seeds, &ReportVersion::planned_steps);
  row.counted = steps_over(seeds, &ReportVersion::counted_steps);
  row.redone = steps_over(seeds, &ReportVersion::redone_steps);
  row.replayed = steps_over(seeds, &ReportVersion::replayed_steps);
  row.share_is_planned = !std::ranges::all_of(seeds, is_finished);
  row.share = over(seeds, [&](const ReportVersion& v) {
    const int64_t steps = row.share_is_planned ? v.planned_steps : v.counted_steps;
    return v.steps_from_scratch > 0
               ? static_cast<double>(steps) / static_cast<double>(v.steps_from_scratch)
               : std::numeric_limits<double>::quiet_NaN();
  });
  return row;
}

// Each seed's steps are those of its last version, the largest numbers: they only grow.
ArmRow arm_row(const std::vector<ReportVersion>& versions, const std::string& arm) {
  std::map<int64_t, ReportVersion> totals;
  for (const auto& each : versions) {
    if (each.arm != arm) continue;
    ReportVersion& total = totals.try_emplace(each.seed, each).first->second;
    for (auto steps : {&ReportVersion::planned_steps, &ReportVersion::counted_steps,
                       &ReportVersion::redone_steps, &ReportVersion::replayed_steps}) {
      total.*steps = std::max(total.*steps, each.*steps);
    }
  }
  Versions seeds;
  for (const auto& [seed, total] : totals) seeds.push_back(&total);
  return {.arm = arm,
          .planned = steps_over(seeds, &ReportVersion::planned_steps),
          .counted = steps_over(seeds, &ReportVersion::counted_steps),
          .redone = steps_over(seeds, &ReportVersion::redone_steps),
          .replayed = steps_over(seeds, &ReportVersion::replayed_steps)};
}

Versions seeds_of(const std::vector<ReportVersion>& all, const std::string& name,
                  const std::string& arm) {
  Versions seeds;
  for (const auto& each : all) {
    if (each.name == name && each.arm == arm) seeds.push_back(&each);
  }
  return seeds;
}

std::string baseline_of(const std::vector<std::string>& arms) {
  if (arms.size() < 2) return "";
  return std::ranges::find(arms, "ptfs") == arms.end() ? arms.front() : "ptfs";
}

}  // namespace

Spread spread_of(const std::vector<double>& values) {
  std::vector<double> known = values;
  std::erase_if(known, [](double value) { return std::isnan(value); });
  Spread spread;
  if (known.empty()) return spread;
  spread.seeds = std::ssize(known);
  const auto count = static_cast<double>(known.size());
  double sum = 0, squares = 0;
  for (const double value : known) sum += value;
  spread.mean = sum / count;
  for (const double value : known) squares += (value - spread.mean) * (value - spread.mean);
  if (known.size() > 1) spread.deviation = std::sqrt(squares / (count - 1));
  spread.least = std::ranges::min(known);
  spread.most = std::ranges::max(known);
  return spread;
}

VersionTable version_table(const std::vector<ReportVersion>& versions) {
  VersionTable table;
  std::vector<std::string> names, arms;
  for (const auto& each : versions) {
    add_once(names, each.name);
    add_once(arms, each.arm);
    for (const auto& score : each.scores) add_once(table.sets, score.set);
  }
  table.baseline = baseline_of(arms);
  for (const auto& name : names) {
    for (const auto& arm : arms) {
      const Versions seeds = seeds_of(versions, name, arm);
      if (seeds.empty()) continue;
      table.rows.push_back(version_row(seeds, table.sets));
      if (table.baseline.empty() || arm == table.baseline) continue;
      const Versions baseline = seeds_of(versions, name, table.baseline);
      for (auto& scores : table.rows.back().scores) {
        scores.difference = difference_to(baseline, seeds, scores.set);
      }
    }
  }
  for (const auto& arm : arms) table.arms.push_back(arm_row(versions, arm));
  return table;
}

}  // namespace switchyard
