#include "launch/reshard/carried_path.h"

#include <functional>
#include <sstream>
#include <string>

#include "core/files.h"
#include "core/json.h"
#include "launch/path/companions.h"
#include "launch/path/path_state.h"
#include "launch/path/relative_name.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// Those whole lines of a file whose number `name` is below `end`.
std::string lines_below(const fs::path& file, const char* name, int64_t end) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return {};
  std::istringstream lines(read_file(file));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const Json parsed = parse_json_or_discard(line);
    const auto number = parsed.is_object() ? parsed.find(name) : parsed.end();
    if (number == parsed.end() || !number->is_number_integer()) continue;
    if (number->get<int64_t>() < end) (kept += line) += '\n';
  }
  return kept;
}

}  // namespace

void carry_name(std::string& path, std::string& path_as_given, const RunFolder& run,
                const fs::path& to) {
  if (path.empty()) return;
  const RelativeName name = relative_name(place_of({path, path_as_given}, run.folder()), to);
  path = name.real;
  path_as_given = name.given;
}

PathSpecification carried_path(const RunFolder& run, PathSpecification path, const fs::path& to) {
  if (path.lineage.empty()) return path;
  LineageEntry& last = path.lineage.back();  // those before are named from their own children
  carry_name(last.path, last.path_as_given, run, to);
  if (last.replayed) carry_name(last.replayed->path, last.replayed->path_as_given, run, to);
  if (last.average) carry_name(last.average->path, last.average->path_as_given, run, to);
  return path;
}

void carry_logs(const RunFolder& run, int64_t step, const fs::path& to) {
  const auto carry = [&](const char* name, int64_t end) {
    const std::string lines = lines_below(run.folder() / name, "step", end);
    if (!lines.empty()) write_file_atomically(to / name, lines);
  };
  carry("metrics.jsonl", step + 1);
  carry("starts.jsonl", step);
}

void carry_companions(const RunFolder& run, const fs::path& to) {
  const fs::path from = companions_of(run);
  if (!from.empty()) copy_companions(from, to / companion_folder);
}

}  // namespace switchyard
