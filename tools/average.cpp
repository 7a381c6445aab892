#include "launch/path/average.h"

#include <optional>

#include "core/error.h"
#include "data/progress.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

void take_window(AverageRequest& request, Command& command, const Settings& s) {
  for (const char* other : {"steps", "weights-of"}) {
    if (!command.given.has(other)) continue;
    fail("average", "--window {} with --{} {}; one of them is allowed", s.text("window"), other,
         command.given.text(other));
  }
  request.window = parse_window(s.text("window"));
  request.members = members_of(take_run(command, "RUN"), {request.window->end});
  request.weights = "average/running";
}

}  // namespace

int average_command(Arguments arguments) {
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> specs = {
      {"steps", OptionKind::text, group, "", "A:B:EVERY or a list such as 100,250,400, all saved"},
      {"window", OptionKind::text, group, "",
       "A:B, the steps A+1 to B of a running mean that both checkpoints have"},
      {"output", OptionKind::text, group, "", "the new run folder"},
      {"weights", OptionKind::text, group, "",
       "the group to average, as inspect lists them (model, of which the fp32 master copy is "
       "taken; "
       "of a window average/running)"},
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
  auto command = parse_or_help(specs, arguments,
                               "average RUN --steps A:B:EVERY --output NEW | average RUN --window "
                               "A:B --output NEW | average "
                               "RUN@STEP RUN@STEP ... --output NEW");
  if (!command) return 0;
  AverageRequest request;
  const auto s = with_fallbacks(specs, command->given);
  if (s.has("window")) {
    take_window(request, *command, s);
  } else {
    request.members = parse_members(command->positional, s.has("steps") ? s.text("steps") : "");
  }
  request.output = s.text("output");
  if (s.has("weights")) request.weights = s.text("weights");
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
