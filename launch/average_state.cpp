#include "launch/average_state.h"

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "launch/path/verify.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

constexpr const char* document = "averages";

std::vector<int64_t> steps_of(std::span<const LeftOutMember> members) {
  std::vector<int64_t> steps;
  for (const auto& member : members) steps.push_back(member.step);
  return steps;
}

std::vector<AverageRecord> records_of(const Averages& averages) {
  std::vector<AverageRecord> records;
  for (size_t i = 0; i < averages.size(); ++i) records.push_back(averages.record(i));
  return records;
}

constexpr const char* way_out = "go on from another step, or end the average with --drop-average";

// `body` reads a member's checkpoint.
void naming_member(const RunFolder& run, int64_t step, const LeftOutMember& member,
                   const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& problem) {
    if (problem.code() == ExitCode::stopped) throw;
    throw Error(fmt::format("{}; an average at step {} of '{}' has step {} among its members; {}",
                            problem.what(), step, run.folder().string(), member.step, way_out),
                problem.code());
  }
}

// The checkpoint that a member was left out for, and none that was made since.
CheckpointReader reader_of(const RunFolder& run, int64_t step, const LeftOutMember& member,
                           const Mesh& mesh) {
  const auto name = run.folder().string();
  check(run.has(member.step), ExitCode::storage, "averages",
        "an average at step {} of '{}' has step {} among its members, which is not saved any more; "
        "{}",
        step, name, member.step, way_out);
  CheckpointReader reader(run.checkpoint(member.step).folder, mesh.world->rank(),
                          mesh.world->size());
  check(reader.info().id == member.checkpoint, ExitCode::storage, "averages",
        "an average at step {} of '{}' has checkpoint {} of step {} among its members, but {} is "
        "there; {}",
        step, name, member.checkpoint, member.step, reader.info().id, way_out);
  return reader;
}

}  // namespace

std::vector<int32_t> load_averages(const CheckpointReader& reader, const SavedAverages& saved,
                                   const Mesh& mesh, Engine& engine) {
  Averages& averages = engine.averages();
  auto tensors = averages.to_load(steps_of(saved.left_out));
  for (const LeftOutMember& member : saved.left_out) {
    if (!member.checkpoint.empty()) continue;
    auto more = averages.member_from_master(member.step);
    std::ranges::move(more, std::back_inserter(tensors));
  }
  return reader.read_and_check(tensors, {}, ReadAs::stored, mesh.node.get());
}

void load_left_out_members(const RunFolder& run, int64_t step, const SavedAverages& saved,
                           const Mesh& mesh, Engine& engine) {
  const int rank = mesh.world->rank(), ranks = mesh.world->size();
  ControlPlane& control = mesh.world->control();
  for (const LeftOutMember& member : saved.left_out) {
    const auto tensors = engine.averages().member_from_master(member.step);
    if (tensors.empty() || member.checkpoint.empty()) continue;
    std::optional<CheckpointReader> reader;
    std::vector<int32_t> checked;
    const auto attempt = [&](const std::function<void()>& body) {
      control.agree([&] { naming_member(run, step, member, body); });
    };
    control.agree([&] { reader.emplace(reader_of(run, step, member, mesh)); });
    attempt(
        [&] { checked = reader->read_and_check(tensors, {}, ReadAs::stored, mesh.node.get()); });
    Stream host;
    mesh.world->all_reduce(std::span(checked), ReduceOp::max, host, {"checked pieces"}).wait(host);
    attempt([&] { verify_rest_with_progress(*reader, checked, rank, ranks); });
  }
}

void add_averages(const RunFolder& run, int64_t step, Engine& engine, const Mesh& mesh,
                  std::vector<ShardedTensor>& state,
                  std::map<std::string, std::string>& documents) {
  Averages& averages = engine.averages();
  if (averages.empty()) return;
  ControlPlane& control = mesh.world->control();
  std::string text;
  control.agree([&] {  // one look at the folder decides for all ranks
    if (mesh.world->rank() != 0) return;
    const auto records = records_of(averages);
    text = averages_document({records, members_saved(run, records, step)});
  });
  CheckpointInfo info;
  info.documents[document] = control.broadcast(text, document);
  control.agree([&] {
    auto tensors = averages.to_save(steps_of(averages_in(info).left_out));
    std::ranges::move(tensors, std::back_inserter(state));
  });
  documents[document] = info.documents[document];
  engine.context().stream.synchronize();
}

std::vector<ShardedTensor> means_to_save(Averages& averages) {
  std::vector<int64_t> members;
  for (const AverageRecord& record : records_of(averages))
    members.insert(members.end(), record.members.begin(), record.members.end());
  return averages.to_save(members);
}

}  // namespace switchyard
