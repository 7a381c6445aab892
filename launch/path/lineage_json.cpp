#include "launch/path/lineage_json.h"

#include "core/error.h"
#include "launch/path/imported.h"

namespace switchyard {

namespace {

Json replayed_json(const ReplayedFrom& from) {
  Json all = {{"path", from.path}, {"checkpoint", from.checkpoint}, {"step", from.step}};
  if (!from.path_as_given.empty()) all["path_as_given"] = from.path_as_given;
  if (!from.outcome.empty()) all["outcome"] = from.outcome;
  if (!from.difference.empty()) all["difference"] = from.difference;
  if (from.imported_step) all["imported_step"] = *from.imported_step;
  return all;
}

ReplayedFrom replayed_from(const Json& j) {
  ReplayedFrom from{j.at("path"),       j.value("path_as_given", ""), j.at("step"),
                    j.at("checkpoint"), j.value("outcome", ""),       j.value("difference", "")};
  if (j.contains("imported_step")) from.imported_step = j.at("imported_step");
  return from;
}

Json average_json(const AverageFork& fork) {
  Json all = {{"moments", fork.moments}};
  if (fork.path.empty()) return all;
  all["path"] = fork.path;
  all["checkpoint"] = fork.checkpoint;
  if (!fork.path_as_given.empty()) all["path_as_given"] = fork.path_as_given;
  return all;
}

std::optional<AverageFork> average_from(const Json& entry) {
  if (!entry.contains("average")) return std::nullopt;
  const Json& j = entry.at("average");
  AverageFork fork{j.at("moments")};
  check(fork.moments == "newest" || fork.moments == "fresh", "path",
        "moments are '{}'; newest and fresh are known", fork.moments);
  if (fork.moments == "fresh") return fork;
  fork.path = j.at("path");
  fork.checkpoint = j.at("checkpoint");
  fork.path_as_given = j.value("path_as_given", "");
  return fork;
}

}  // namespace

Json lineage_json(const std::vector<LineageEntry>& lineage) {
  Json all = Json::array();
  for (const auto& e : lineage) {
    all.push_back({{"path", e.path},
                   {"checkpoint", e.checkpoint},
                   {"step", e.step},
                   {"samples", e.samples},
                   {"tokens", e.tokens}});
    if (!e.path_as_given.empty()) all.back()["path_as_given"] = e.path_as_given;
    if (e.replayed) all.back()["replayed"] = replayed_json(*e.replayed);
    if (e.average) all.back()["average"] = average_json(*e.average);
    if (e.imported) {
      all.back()["imported"] = imported_json(*e.imported);
      all.back()["imported"]["step"] = e.imported->step;
    }
  }
  return all;
}

std::vector<LineageEntry> lineage_from(const Json& j, int64_t sequence_length) {
  std::vector<LineageEntry> lineage;
  for (const auto& e : j) {
    const int64_t samples = e.at("samples");
    lineage.push_back({e.at("path"), e.at("checkpoint"), e.at("step"), samples,
                       e.value("tokens", samples * sequence_length), e.value("path_as_given", ""),
                       std::nullopt, average_from(e)});
    LineageEntry& made = lineage.back();
    if (e.contains("replayed")) made.replayed = replayed_from(e.at("replayed"));
    if (!e.contains("imported")) continue;
    made.imported = imported_from(e.at("imported"));
    made.imported->step = e.at("imported").at("step");
    check(lineage.size() == 1 && made.step == 0 && samples == 0 && made.tokens == 0, "path",
          "step {} of '{}' are published weights; they are the first of a lineage, at step 0",
          made.step, made.path);
  }
  return lineage;
}

}  // namespace switchyard
