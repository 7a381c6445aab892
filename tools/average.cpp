#include "launch/path/average.h"

#include <optional>

#include "data/progress.h"
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
  std::optional<Progress> progress;
  average(run, parse_steps(command->given.text("steps")), command->given.text("output"),
          [&](int64_t /*done*/, int64_t all) {
            if (!progress) progress.emplace("average", all, true, ProgressUnit{"tensors", 1});
            progress->add(1);
          });
  return 0;
}

}  // namespace switchyard
