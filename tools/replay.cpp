#include "launch/replay.h"

#include <cstdio>

#include "core/error.h"
#include "core/json.h"
#include "core/printable.h"
#include "tools/command_support.h"
#include "tools/comparison_text.h"

namespace switchyard {

namespace {

void print(const StepRange& range, const Replay& made, bool json) {
  if (json) {
    const Json all = {{"run", range.run},
                      {"first_step", range.first},
                      {"last_step", range.last},
                      {"origin", made.origin},
                      {"exact", comparison_json(made.exact)},
                      {"close", comparison_json(made.close)}};
    std::printf("%s\n", json_text_replacing(all).c_str());
    return;
  }
  const std::string begin = made.origin > 0     ? fmt::format("step {}", made.origin)
                            : made.from_weights ? "the published weights"
                                                : "random weights";
  std::printf("steps %lld to %lld of %s, made again from %s:\n",
              static_cast<long long>(range.first), static_cast<long long>(range.last),
              printable(range.run).c_str(), begin.c_str());
  if (made.exact.common > 0) {
    std::printf("%lld under the same conditions: %lld differ\n",
                static_cast<long long>(made.exact.common),
                static_cast<long long>(made.exact.differing));
    print_places(made.exact);
  }
  if (made.close.common > 0) {
    std::printf("%lld under other conditions, within the tolerance: %lld differ\n",
                static_cast<long long>(made.close.common),
                static_cast<long long>(made.close.differing));
    print_places(made.close);
  }
}

}  // namespace

int replay_command(Arguments arguments) {
  const auto group = OptionGroup::run;
  const auto specs = joined(
      {{{"tolerance", OptionKind::real, group, "0.01",
         "relative, of losses recorded under another layout, thread count, device or library"},
        {"json", OptionKind::flag, group, "", "print one JSON object"}},
       layout_options()});
  return run_on_all_ranks(
      specs, arguments, "replay RUN@A:B", [&specs](Command& command, Communicator& world) {
        StepRange range;
        Settings settings;
        world.control().agree([&] {
          range = parse_step_range(take_run(command, "RUN@A:B"));
          settings = with_fallbacks(specs, command.given);
          check(settings.real("tolerance") >= 0, "replay", "--tolerance {}; 0 or more is allowed",
                settings.text("tolerance"));
        });
        const Replay made = replay(range, settings, settings.real("tolerance"), world);
        if (world.rank() == 0) print(range, made, settings.flag("json"));
        return made.agrees() ? ExitCode::reached : ExitCode::differs;
      });
}

}  // namespace switchyard
