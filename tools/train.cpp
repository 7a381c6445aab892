#include "core/stop_signal.h"
#include "launch/path/fork.h"
#include "launch/path/path_lock.h"
#include "launch/trainer.h"
#include "tools/command_support.h"

namespace switchyard {

int train_command(Arguments arguments) {
  const StopSignal signals;  // from here on: USR1 during the start must not end the process
  const auto specs = joined({path_options(), run_options()});
  return run_on_all_ranks(specs, arguments, "train RUN [options]",
                          [](Command& command, Communicator& world) {
                            std::string run;
                            world.control().agree([&] { run = take_run(command, "RUN"); });
                            return train(run, command.given, world);
                          });
}

namespace {

// What a fork takes beside a path's own options; path.json says it in lineage and stages.
std::vector<OptionSpec> fork_options() {
  return {
      {.name = "moments",
       .kind = OptionKind::text,
       .group = OptionGroup::run,
       .help = "of a fork of an average: newest (its newest member's, and the default) or fresh",
       .allowed = one_of({"newest", "fresh"})},
      {.name = "skip-samples",
       .kind = OptionKind::text,
       .group = OptionGroup::run,
       .help = "A:B, samples along the lineage that are not read: A and up to before B"}};
}

}  // namespace

int fork_command(Arguments arguments) {
  const auto specs = joined({path_options(), fork_options()});
  auto command = parse_or_help(specs, arguments, "fork MAIN@STEP NEW [options]");
  if (!command) return 0;
  const auto names = take_names(*command, 2, "MAIN@STEP and NEW");
  fork(names[0], names[1], command->given);
  return 0;
}

int extend_command(Arguments arguments) {
  auto group = OptionGroup::data;
  const std::vector<OptionSpec> specs = {
      {"at-step", OptionKind::integer, group, "", "the last step on the data before"},
      {"data-path", OptionKind::list, group, "", "PREFIX, or WEIGHT PREFIX pairs of a blend"},
      lock_wait_option()};
  auto command = parse_or_help(specs, arguments, "extend RUN --at-step N --data-path PREFIX");
  if (!command) return 0;
  const auto run = take_run(*command, "RUN");
  extend(run, command->given.integer("at-step"), command->given);
  return 0;
}

}  // namespace switchyard
