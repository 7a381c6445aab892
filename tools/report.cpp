#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/files.h"
#include "core/printable.h"
#include "launch/campaign/campaign_report.h"
#include "launch/campaign/desired_paths.h"
#include "launch/campaign/look.h"
#include "tools/command_support.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

std::vector<OptionSpec> report_options() {
  return {{"output", OptionKind::text, OptionGroup::run, "", "the page's file"},
          {"csv", OptionKind::text, OptionGroup::run, "",
           "also write all that the page shows, every step of it, as tables into this folder"}};
}

bool is_file(const std::string& name) {
  std::error_code ignored;
  return fs::is_regular_file(name, ignored);
}

// Of a campaign, told by its file, or of runs.
ReportInput input_of(const std::vector<std::string>& names) {
  const auto file = std::ranges::find_if(names, is_file);
  if (file == names.end()) return report_of_runs(names);
  check(names.size() == 1, ExitCode::usage, "report",
        "'{}' is a file, beside others; one campaign's file, or paths' folders, are allowed",
        *file);
  const Campaign campaign = read_campaign(*file);
  const Desired desired = desired_of(campaign);
  return report_of_campaign(campaign, desired, look_at(campaign, desired));
}

// The others are shown, too, when one is damaged.
int exit_code(const std::vector<ReportProblem>& problems) {
  const bool damaged =
      std::ranges::find(problems, ExitCode::storage, &ReportProblem::code) != problems.end();
  return static_cast<int>(damaged ? ExitCode::storage : ExitCode::reached);
}

}  // namespace

int report_command(Arguments arguments) {
  const auto specs = report_options();
  auto command = parse_or_help(specs, arguments,
                               "report RUN... --output FILE | report CAMPAIGN --output FILE");
  if (!command) return 0;
  check(!command->positional.empty(), ExitCode::usage, "report",
        "no RUN was given; paths' folders, folders that hold paths, or a campaign's file are "
        "allowed");
  check(command->given.has("output"), ExitCode::usage, "report",
        "--output was not given; the name of the page's file is needed, such as report.html");
  const fs::path output = command->given.text("output");
  check_report_output(output);
  const bool has_csv = command->given.has("csv");
  if (has_csv) check_report_csv(command->given.text("csv"));
  const ReportInput input = input_of(command->positional);
  const auto problems = report_problems(input);
  write_file_atomically(output, report_html(input));
  if (has_csv) write_report_csv(input, command->given.text("csv"));
  for (const auto& each : problems) std::fprintf(stderr, "%s\n", printable(each.text).c_str());
  std::printf("%s: %zu %s\n", printable(output.string()).c_str(), input.paths.size(),
              input.paths.size() == 1 ? "path" : "paths");
  return exit_code(problems);
}

}  // namespace switchyard
