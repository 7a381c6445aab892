#include <fstream>

#include "core/error.h"
#include "launch/report/report.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

std::string beginning_of(const fs::path& file, size_t bytes) {
  std::ifstream stream(file, std::ios::binary);
  std::string text(bytes, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(bytes));
  text.resize(static_cast<size_t>(stream.gcount()));
  return text;
}

// Nothing that another program wrote, such as a run's log, is lost to a slip of the pen.
void check_replaceable(const fs::path& file, const std::string& beginning) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return;
  check(fs::is_regular_file(file, ignored) && beginning_of(file, beginning.size()) == beginning,
        ExitCode::usage, "report",
        "'{}' is there and was not written by a report; another name is allowed", file.string());
}

void check_is_in_folder(const fs::path& name) {
  std::error_code ignored;
  const fs::path above = fs::absolute(name).lexically_normal().parent_path();
  check(fs::is_directory(above, ignored), ExitCode::usage, "report",
        "'{}' would lie in '{}', which is no folder; a folder that is there is allowed",
        name.string(), above.string());
}

}  // namespace

void check_report_output(const fs::path& file) {
  std::error_code ignored;
  check(!file.empty(), ExitCode::usage, "report",
        "--output has an empty name; the name of a file is allowed");
  check(!fs::is_directory(file, ignored) && file.has_filename(), ExitCode::usage, "report",
        "--output '{}' is a folder; the name of a file is allowed", file.string());
  check_is_in_folder(file);
  check_replaceable(file, "<!doctype html>\n<!-- switchyard report -->");
}

void check_report_csv(const fs::path& folder) {
  std::error_code ignored;
  check(!folder.empty(), ExitCode::usage, "report",
        "--csv has an empty name; the name of a folder is allowed");
  check(!fs::exists(folder, ignored) || fs::is_directory(folder, ignored), ExitCode::usage,
        "report", "--csv '{}' is a file; the name of a folder is allowed", folder.string());
  for (const char* name : {"paths", "steps", "discarded", "validations", "starts"}) {
    check_replaceable(folder / (std::string(name) + ".csv"), "path,");
  }
  check_replaceable(folder / "versions.csv", "version,");
}

}  // namespace switchyard
