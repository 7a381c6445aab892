#include "launch/path/average_document.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "launch/path/average_option.h"

namespace switchyard {

namespace {

constexpr const char* document = "averages";

Json record_json(const AverageRecord& record) {
  Json json = {{"average", show(record.spec)}, {"since", record.since}, {"count", record.count}};
  if (record.spec.kind == AverageSpec::Kind::lawa) json["members"] = record.members;
  return json;
}

AverageRecord record_in(const Json& json) {
  AverageRecord record;
  record.spec = parse_average(json.at("average").get<std::string>());
  record.since = json.at("since");
  record.count = json.at("count");
  if (json.contains("members")) record.members = json.at("members").get<std::vector<int64_t>>();
  return record;
}

}  // namespace

std::string averages_document(const SavedAverages& averages) {
  Json all = {{"averages", Json::array()}, {"left_out", Json::array()}};
  for (const auto& record : averages.records) all["averages"].push_back(record_json(record));
  for (const auto& member : averages.left_out) {
    Json json = {{"step", member.step}};
    if (!member.checkpoint.empty()) json["checkpoint"] = member.checkpoint;
    all["left_out"].push_back(json);
  }
  return json_text(all);
}

SavedAverages averages_in(const CheckpointInfo& info) {
  SavedAverages averages;
  const auto text = info.documents.find(document);
  if (text == info.documents.end()) return averages;
  try {
    const Json all = parse_json(text->second);
    for (const auto& json : all.at("averages")) averages.records.push_back(record_in(json));
    for (const auto& json : all.at("left_out")) {
      averages.left_out.push_back({json.at("step"), json.value("checkpoint", std::string())});
    }
  } catch (const nlohmann::json::exception& problem) {
    fail("checkpoint", "the document '{}' of step {} is not what this program writes: {}", document,
         info.step, problem.what());
  }
  return averages;
}

std::vector<LeftOutMember> members_saved(const RunFolder& run,
                                         std::span<const AverageRecord> records, int64_t step) {
  std::vector<int64_t> members;
  for (const auto& record : records) {
    members.insert(members.end(), record.members.begin(), record.members.end());
  }
  std::ranges::sort(members);
  members.erase(std::unique(members.begin(), members.end()), members.end());
  std::vector<LeftOutMember> saved;
  for (const int64_t member : members) {
    if (member == step) {
      saved.push_back({member, ""});
    } else if (run.has(member)) {
      saved.push_back({member, CheckpointReader(run.checkpoint(member).folder).info().id});
    }
  }
  return saved;
}

std::vector<int64_t> members_left_out(const CheckpointInfo& info) {
  std::vector<int64_t> steps;
  for (const auto& member : averages_in(info).left_out) {
    if (!member.checkpoint.empty()) steps.push_back(member.step);
  }
  return steps;
}

}  // namespace switchyard
