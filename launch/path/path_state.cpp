#include "launch/path/path_state.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "core/error.h"
#include "core/json.h"
#include "launch/path/average_members.h"
#include "launch/path/path_lock.h"
#include "launch/path/paths_near.h"
#include "launch/path/unreadable_step.h"
#include "parallel/checkpoint/state_groups.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The last line of the log that is whole; a log may be long, and its end is enough.
Json last_line(const fs::path& file) {
  constexpr std::streamoff tail = 1 << 16;
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(0, std::ios::end);
  const std::streamoff size = stream.tellg();
  if (!stream || size <= 0) return {};
  stream.seekg(std::max<std::streamoff>(0, size - tail));
  Json last;
  for (std::string line; std::getline(stream, line);) {
    auto parsed = parse_json_or_discard(line);
    if (parsed.is_object() && parsed.contains("step")) last = std::move(parsed);
  }
  return last;
}

}  // namespace

namespace {

// The newest steps are opened until one can be read.
void add_saved(const RunFolder& run, PathState& state) {
  auto entries = list_checkpoints(run.checkpoints());
  std::erase_if(entries, [](const CheckpointEntry& entry) { return !entry.complete; });
  for (; !entries.empty(); entries.pop_back()) {
    const auto problem = problem_of_step(entries.back());
    if (!problem) break;
    if (run.has(entries.back().step))  // else it was deleted meanwhile
      state.unreadable.push_back({entries.back().step, problem->what()});
  }
  for (const CheckpointEntry& entry : entries) state.saved.push_back(entry.step);
}

}  // namespace

std::optional<int64_t> last_logged_step(const RunFolder& run) {
  const auto last = last_line(run.folder() / "metrics.jsonl");
  if (!last.is_object() || !last.at("step").is_number_integer()) return std::nullopt;
  return last.at("step").get<int64_t>();
}

std::string describe(const UnreadableStep& step) {
  return fmt::format("step {} does not count: {}", step.step, step.problem);
}

PathState state_of(const RunFolder& run, const PathSpecification& path) {
  PathState state;
  state.step = path.start_step();
  add_saved(run, state);
  if (!state.saved.empty()) state.step = std::max(state.step, state.saved.back());
  const auto last = last_line(run.folder() / "metrics.jsonl");
  if (last.is_object() && last.at("step").is_number_integer() &&
      last.at("step").get<int64_t>() >= state.step) {
    state.step = last.at("step");
    if (last.contains("loss") && last.at("loss").is_number()) state.loss = last.at("loss");
  }
  state.trained = !state.saved.empty() || last.is_object();
  state.holder = holder_of(run);
  state.running = !state.holder.empty();
  return state;
}

std::string word_of(const PathState& state, const PathSpecification& path) {
  if (path.kind != "path") return path.kind;
  if (state.running) return "running";
  if (!state.trained) return "new";
  return path.decay_end() > 0 && state.step >= path.decay_end() ? "finished" : "stopped";
}

namespace {

// The places that an average's source may have, as seen from the average.
std::vector<fs::path> places_of_source(const RunFolder& average, const CheckpointInfo& info) {
  const auto document = info.documents.find("source");
  if (document == info.documents.end()) return {};
  const auto name = parse_json_or_discard(document->second);
  if (!name.is_object()) return {};
  return places({name.value("path", ""), name.value("path_as_given", "")}, average.folder());
}

// Whether one of these checkpoints (step and id) is saved there.
bool has_one_of(const fs::path& run, const std::map<int64_t, std::string>& checkpoints) {
  try {
    for (const auto& entry : list_checkpoints(RunFolder(run).checkpoints())) {
      const auto same = checkpoints.find(entry.step);
      if (!entry.complete || same == checkpoints.end()) continue;
      return CheckpointReader(entry.folder).info().id == same->second;
    }
  } catch (const Error&) {  // it is not there, as far as can be seen
  }
  return false;
}

}  // namespace

// Its lineage is "uniform mean of" and a line "RUN@STEP (checkpoint ID)" each.
std::string weights_of_average(const CheckpointInfo& info) {
  const auto source = info.documents.find("source");
  if (source == info.documents.end()) return std::string(groups::model);
  return parse_json(source->second).value("weights", std::string(groups::model));
}

AverageSource source_of_average(const RunFolder& average, const CheckpointReader& checkpoint) {
  AverageSource source;
  std::map<int64_t, std::string> ids;
  const auto members = members_in(checkpoint.info());
  for (const auto& member : members) {
    source.run = members.back().run;
    if (member.run != source.run) {
      source.others.push_back(fmt::format("{}@{}", member.run, member.step));
      continue;
    }
    source.steps.push_back(member.step);
    ids[member.step] = member.checkpoint;
  }
  if (source.run.empty()) return source;
  const auto named = places_of_source(average, checkpoint.info());
  auto all = named;
  const fs::path around[] = {average.folder()};
  std::ranges::copy(paths_near(around), std::back_inserter(all));
  auto found = std::ranges::find_if(all, [&](const fs::path& p) { return has_one_of(p, ids); });
  if (found == all.end()) {  // its steps may have been deleted since
    std::error_code ignored;
    found = std::ranges::find_if(
        all.begin(), all.begin() + std::ssize(named),
        [&](const fs::path& p) { return fs::exists(p / "path.json", ignored); });
    if (found == all.begin() + std::ssize(named)) return source;
  }
  source.run = found->string();
  return source;
}

fs::path place_of(const RelativeName& name, const fs::path& from) {
  const auto all = places(name, from);
  if (all.empty()) return from;
  std::error_code ignored;
  const auto there =
      std::ranges::find_if(all, [&](const fs::path& place) { return fs::exists(place, ignored); });
  return (there == all.end() ? all.front() : *there).lexically_normal();
}

}  // namespace switchyard
