#include "launch/average.h"

#include "tools/command_support.h"

namespace switchyard {

int average_command(Arguments arguments) {
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> specs = {
      {"steps", OptionKind::text, group, "", "A:B:EVERY, all of them saved steps"},
      {"output", OptionKind::text, group, "", "the new run folder"}};
  auto command = parse_or_help(specs, arguments, "average RUN --steps A:B:EVERY --output NEW");
  if (!command) return 0;
  const auto run = take_run(*command, "RUN");
  average(run, parse_steps(command->given.text("steps")), command->given.text("output"));
  return 0;
}

}  // namespace switchyard
