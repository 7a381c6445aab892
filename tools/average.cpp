#include "launch/path/average.h"

#include <optional>

#include "data/progress.h"
#include "tools/command_support.h"

namespace switchyard {

int average_command(Arguments arguments) {
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> specs = {
      {"steps", OptionKind::text, group, "", "A:B:EVERY or a list such as 100,250,400, all saved"},
      {"output", OptionKind::text, group, "", "the new run folder"},
      {"weights", OptionKind::text, group, std::string(groups::model),
       "the group to average, as inspect lists them; of the model's the fp32 master copy"},
      {.name = "weights-of",
       .kind = OptionKind::text,
       .group = group,
       .fallback = "uniform",
       .help = "what each step counts for: uniform, ema:0.9, a decay's shape, or numbers",
       .allowed = such_as({"uniform", "ema:0.9", "linear", "cosine", "1-sqrt", "0.2,0.3,0.5"})},
      {.name = "memory",
       .kind = OptionKind::integer,
       .group = group,
       .fallback = "256",
       .help = "MiB for the parts of tensors that are at hand, one row at least",
       .allowed = between(1, int64_t{1} << 31)}};
  auto command = parse_or_help(
      specs, arguments,
      "average RUN --steps A:B:EVERY --output NEW | average RUN@STEP RUN@STEP ... --output NEW");
  if (!command) return 0;
  AverageRequest request;
  const auto s = with_fallbacks(specs, command->given);
  request.members = parse_members(command->positional, s.has("steps") ? s.text("steps") : "");
  request.output = s.text("output");
  request.weights = s.text("weights");
  request.weights_of = s.text("weights-of");
  request.memory_bytes = s.integer("memory") << 20;
  std::optional<Progress> progress;
  average(request, [&](int64_t /*done*/, int64_t all) {
    if (!progress) progress.emplace("average", all, true, ProgressUnit{"tensors", 1});
    progress->add(1);
  });
  return 0;
}

}  // namespace switchyard
