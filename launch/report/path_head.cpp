#include "launch/report/path_head.h"

#include <algorithm>
#include <fstream>

#include "launch/path/imported.h"
#include "launch/report/step_log.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

std::string text_in(const Json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string layout_of(const Json& line) {
  const auto layout = line.find("layout");
  if (layout == line.end() || !layout->is_object()) return "";
  return fmt::format("{} x {} x {}", integer_in(*layout, "tp"), integer_in(*layout, "pp"),
                     integer_in(*layout, "dp"));
}

// Reads the starts and, of the last one, the step that it was to go to.
void read_starts(const fs::path& run, PathHead& head) {
  for_each_line(run / "starts.jsonl", [&](const Json& line) {
    if (!line.contains("start")) return;
    const auto versions = line.find("versions");
    const bool has_versions = versions != line.end() && versions->is_object();
    head.starts.push_back({.number = integer_in(line, "start"),
                           .step = integer_in(line, "step"),
                           .ranks = integer_in(line, "ranks"),
                           .time = text_in(line, "time"),
                           .layout = layout_of(line),
                           .device = text_in(line, "device"),
                           .version = has_versions ? text_in(*versions, "switchyard") : ""});
    const auto options = line.find("options");
    const bool has_options = options != line.end() && options->is_object();
    head.end = has_options ? integer_in(*options, "train-iters") : 0;
  });
}

void read_average(const RunFolder& run, PathHead& head) {
  const auto source = source_of_average(run, CheckpointReader(run.checkpoint(std::nullopt).folder));
  head.members = source.steps;
  head.others = source.others;
}

// They have no place among the steps of paths.
void place_published(PathHead& head) {
  head.kind = "imported";
  head.step = 0;
}

// Where the log cannot be read the page would silently lack its steps.
void check_readable(const fs::path& file) {
  std::error_code ignored;
  check(!fs::exists(file, ignored) || std::ifstream(file).good(), "file", "'{}' cannot be read",
        file.string());
}

void read_path(const ReportPath& shown, PathHead& head) {
  const RunFolder run(shown.folder);
  const PathSpecification path = run.read();
  const PathState state = state_of(run, path);
  head.kind = path.kind;
  head.state = word_of(state, path);
  head.step = state.step;
  head.loss = state.loss;
  if (path.kind == "average") read_average(run, head);
  if (!path.has_training_options()) place_published(head);
  if (path.kind != "path") return;
  if (path.begins_with_weights()) head.imported = describe(*path.lineage.back().imported);
  head.schedule = path.schedule;
  for (const char* name : {"metrics.jsonl", "metrics.discarded.jsonl"}) {
    check_readable(run.folder() / name);
  }
  read_starts(run.folder(), head);
  if (path.decay_end() > 0) head.end = path.decay_end();
  if (shown.last_step > 0) head.end = shown.last_step;
  const bool is_over = shown.last_step > 0 && head.step >= shown.last_step;
  if (is_over && head.state == "stopped") head.state = "finished";
}

}  // namespace

PathHead damaged_head(const std::exception& problem) {
  PathHead head;
  head.problem = problem.what();
  head.code = code_of(problem);
  head.state = "damaged";
  return head;
}

PathHead read_head(const ReportPath& path) {
  PathHead head;
  if (!path.is_there) {
    head.state = "waiting";
    head.step = path.fork_step;
    head.end = path.last_step;
    head.schedule = path.schedule;
    head.imported = path.imported;
    return head;
  }
  head.problem = path.problem;
  head.code = path.code;
  try {
    if (head.problem.empty()) read_path(path, head);
  } catch (const std::exception& problem) {
    head = damaged_head(problem);
  }
  if (!head.problem.empty()) head.state = "damaged";
  return head;
}

}  // namespace switchyard
