#include <array>

#include "core/files.h"
#include "launch/report/csv.h"
#include "launch/report/path_head.h"
#include "launch/report/report.h"
#include "launch/report/step_log.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr const char* step_columns[] = {
    "step",    "start",        "loss",         "learning_rate",     "grad_norm",
    "samples", "tokens",       "milliseconds", "tokens_per_second", "gflops",
    "mfu",     "memory_bytes", "spike",        "loss_scale",        "skipped"};

std::string header_of_steps() {
  std::string header = "path";
  for (const char* name : step_columns) {
    header += ',';
    header += name;
  }
  return header;
}

std::string step_cells(const Json& line) {
  std::string cells;
  for (const char* name : step_columns) {
    if (name != step_columns[0]) cells += ',';
    cells += csv_value(line, name);
  }
  return cells;
}

void write_steps(const ReportInput& input, const fs::path& file, const char* log) {
  CsvFile table(file, header_of_steps());
  for (const auto& path : input.paths) {
    if (!path.is_there) continue;
    for_each_line(path.folder / log, [&](const Json& line) {
      if (line.contains("step")) table.row({csv_cell(path.name), step_cells(line)});
    });
  }
  table.finish();
}

// The mean over all sets has an empty set's name.
void write_validation(const Json& line, const std::string& path, CsvFile& table) {
  if (!line.contains("validation_loss")) return;
  const std::string step = csv_value(line, "step");
  const auto write = [&](const std::string& weights, const Json& losses, const char* mean,
                         const char* sets) {
    table.row({path, step, weights, "", csv_value(losses, mean)});
    const auto of_sets = losses.find(sets);
    if (of_sets == losses.end() || !of_sets->is_object()) return;
    for (const auto& [set, loss] : of_sets->items()) {
      table.row({path, step, weights, csv_cell(set), csv_value(*of_sets, set.c_str())});
    }
  };
  write("raw", line, "validation_loss", "validation_losses");
  const auto averages = line.find("validation_averages");
  if (averages == line.end() || !averages->is_object()) return;
  for (const auto& [name, average] : averages->items()) {
    if (average.is_object()) write(csv_cell(name), average, "loss", "losses");
  }
}

void write_validations(const ReportInput& input, const fs::path& file) {
  CsvFile table(file, "path,step,weights,set,loss");
  for (const auto& path : input.paths) {
    if (!path.is_there) continue;
    for_each_line(path.folder / "metrics.jsonl",
                  [&](const Json& line) { write_validation(line, csv_cell(path.name), table); });
  }
  table.finish();
}

void write_paths(const ReportInput& input, const fs::path& file) {
  CsvFile table(file, "path,folder,kind,state,parent,fork_step,step,end,loss,problem");
  for (const auto& path : input.paths) {
    const PathHead head = read_head(path);
    table.row({csv_cell(path.name), csv_cell(path.folder.string()), head.kind, head.state,
               csv_cell(path.parent), std::to_string(path.fork_step), std::to_string(head.step),
               head.end > 0 ? std::to_string(head.end) : "",
               head.loss ? csv_number(*head.loss) : "", csv_cell(head.problem)});
  }
  table.finish();
}

void write_starts(const ReportInput& input, const fs::path& file) {
  CsvFile table(file, "path,start,time,step,ranks,layout,device,version");
  for (const auto& path : input.paths) {
    for (const auto& start : read_head(path).starts) {
      table.row({csv_cell(path.name), std::to_string(start.number), csv_cell(start.time),
                 std::to_string(start.step), std::to_string(start.ranks), csv_cell(start.layout),
                 csv_cell(start.device), csv_cell(start.version)});
    }
  }
  table.finish();
}

std::string version_cells(const ReportVersion& v) {
  std::string cells;
  for (const auto& text : {v.name, v.arm}) cells += csv_cell(text) + ',';
  cells += std::to_string(v.seed) + ',' + csv_cell(v.path) + ',' + csv_cell(v.state);
  for (const int64_t steps :
       {v.planned_steps, v.counted_steps, v.redone_steps, v.replayed_steps, v.steps_from_scratch}) {
    cells += ',' + std::to_string(steps);
  }
  return cells;
}

void write_versions(const ReportInput& input, const fs::path& file) {
  CsvFile table(file,
                "version,arm,seed,path,state,planned_steps,counted_steps,redone_steps,"
                "replayed_steps,steps_from_scratch,set,loss,perplexity,bits_per_byte,tokens");
  for (const auto& version : input.versions) {
    const std::string cells = version_cells(version);
    if (version.scores.empty()) table.row({cells, "", "", "", "", ""});
    for (const auto& score : version.scores) {
      table.row({cells, csv_cell(score.set), csv_number(score.loss), csv_number(score.perplexity),
                 score.bits_per_byte > 0 ? csv_number(score.bits_per_byte) : "",
                 std::to_string(score.tokens)});
    }
  }
  table.finish();
}

}  // namespace

void write_report_csv(const ReportInput& input, const fs::path& folder) {
  check_report_csv(folder);
  make_folder(folder);
  write_paths(input, folder / "paths.csv");
  write_steps(input, folder / "steps.csv", "metrics.jsonl");
  write_steps(input, folder / "discarded.csv", "metrics.discarded.jsonl");
  write_validations(input, folder / "validations.csv");
  write_starts(input, folder / "starts.csv");
  write_versions(input, folder / "versions.csv");
}

}  // namespace switchyard
