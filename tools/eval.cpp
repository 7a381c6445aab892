#include <cstdio>

#include "core/json.h"
#include "core/printable.h"
#include "launch/evaluate.h"
#include "parallel/checkpoint/state_groups.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

void print(const Evaluation& e, const std::string& run, const std::vector<std::string>& data,
           bool json) {
  if (json) {
    Json all = {{"run", run},
                {"step", e.step},
                {"checkpoint", e.checkpoint},
                {"data_path", data},
                {"loss", e.loss},
                {"perplexity", e.perplexity},
                {"bits_per_byte", nullptr},
                {"tokens", e.tokens},
                {"text_bytes", e.text_bytes}};
    if (e.text_bytes > 0) all["bits_per_byte"] = e.bits_per_byte;
    std::printf("%s\n", json_text(all).c_str());
    return;
  }
  std::printf("%s, step %lld: loss %.5f, perplexity %.4f", printable(run).c_str(),
              static_cast<long long>(e.step), e.loss, e.perplexity);
  if (e.text_bytes > 0) std::printf(", %.4f bits per byte", e.bits_per_byte);
  std::printf(" over %lld tokens\n", static_cast<long long>(e.tokens));
}

}  // namespace

int eval_command(Arguments arguments) {
  const auto group = OptionGroup::run;
  const auto specs =
      joined({{{"data-path", OptionKind::list, group, "",
                "PREFIX of one or several token sets; their first tokens are not scored"},
               {"weights", OptionKind::text, group, std::string(groups::model),
                "the group of weights to score, as inspect lists them"},
               {"json", OptionKind::flag, group, "", "print one JSON object"}},
              layout_options()});
  return run_on_all_ranks(specs, arguments, "eval RUN[@STEP] --data-path PREFIX...",
                          [&specs](Command& command, Communicator& world) {
                            std::string run;
                            std::vector<std::string> data;
                            world.control().agree([&] {
                              run = take_run(command, "RUN[@STEP]");
                              data = command.given.list("data-path");
                            });
                            const auto settings = with_fallbacks(specs, command.given);
                            const auto result = evaluate(run, data, settings, world);
                            if (world.rank() == 0)
                              print(result, run, data, command.given.flag("json"));
                            return ExitCode::reached;
                          });
}

}  // namespace switchyard
