#include "launch/path/average.h"

#include <optional>

#include "data/progress.h"
#include "tools/command_support.h"

namespace switchyard {

int average_command(Arguments arguments) {
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> specs = {
      {"steps", OptionKind::text, group, "", "A:B:EVERY, all of them saved steps"},
      {"output", OptionKind::text, group, "", "the new run folder"},
      {"weights", OptionKind::text, group, std::string(groups::model),
       "the group to average, as inspect lists them; of the model's the fp32 master copy"}};
  auto command = parse_or_help(specs, arguments, "average RUN --steps A:B:EVERY --output NEW");
  if (!command) return 0;
  AverageRequest request;
  request.run = take_run(*command, "RUN");
  const auto s = with_fallbacks(specs, command->given);
  request.steps = parse_steps(s.text("steps"));
  request.output = s.text("output");
  request.weights = s.text("weights");
  std::optional<Progress> progress;
  average(request, [&](int64_t /*done*/, int64_t all) {
    if (!progress) progress.emplace("average", all, true, ProgressUnit{"tensors", 1});
    progress->add(1);
  });
  return 0;
}

}  // namespace switchyard
