#include "launch/report/version_json.h"

#include "launch/report/series_json.h"
#include "launch/report/version_table.h"

namespace switchyard {

namespace {

Json spread_json(const Spread& spread) {
  return {{"mean", shown_number(spread.mean)},
          {"deviation", shown_number(spread.deviation)},
          {"least", shown_number(spread.least)},
          {"most", shown_number(spread.most)},
          {"seeds", spread.seeds}};
}

// Steps are whole numbers, however large.
Json steps_json(const Spread& steps) {
  return {{"mean", steps.seeds > 0 ? Json(steps.mean) : Json()},
          {"least", static_cast<int64_t>(steps.least)},
          {"most", static_cast<int64_t>(steps.most)}};
}

Json row_json(const VersionRow& row) {
  Json one = {{"version", row.version}, {"arm", row.arm}, {"seeds", row.seeds}};
  one["states"] = row.states;
  one["scores"] = Json::array();
  for (const auto& score : row.scores) {
    one["scores"].push_back({{"set", score.set},
                             {"loss", spread_json(score.loss)},
                             {"perplexity", spread_json(score.perplexity)},
                             {"bits", spread_json(score.bits_per_byte)},
                             {"difference", spread_json(score.difference)}});
  }
  one["planned"] = steps_json(row.planned);
  one["counted"] = steps_json(row.counted);
  one["redone"] = steps_json(row.redone);
  one["replayed"] = steps_json(row.replayed);
  one["share"] = spread_json(row.share);
  one["share_is_planned"] = row.share_is_planned;
  return one;
}

}  // namespace

Json version_json(const std::vector<ReportVersion>& versions) {
  const VersionTable table = version_table(versions);
  Json all = {{"baseline", table.baseline}, {"sets", table.sets}};
  all["rows"] = Json::array();
  for (const auto& row : table.rows) all["rows"].push_back(row_json(row));
  all["arms"] = Json::array();
  for (const auto& arm : table.arms) {
    all["arms"].push_back({{"arm", arm.arm},
                           {"planned", steps_json(arm.planned)},
                           {"counted", steps_json(arm.counted)},
                           {"redone", steps_json(arm.redone)},
                           {"replayed", steps_json(arm.replayed)}});
  }
  all["each"] = Json::array();
  for (const auto& each : versions) {
    all["each"].push_back({{"name", each.name},
                           {"arm", each.arm},
                           {"seed", each.seed},
                           {"path", each.path},
                           {"state", each.state}});
  }
  return all;
}

}  // namespace switchyard
