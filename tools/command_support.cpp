#include "tools/command_support.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "core/error.h"
#include "core/printable.h"
#include "launch/path/command_line.h"
#include "launch/path/given_alike.h"
#include "launch/path/run_settings.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/rendezvous/job_environment.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

namespace {

UsageAndOptions* asked_form = nullptr;  // while form_of() asks

}  // namespace

UsageAndOptions form_of(int (*command)(Arguments)) {
  UsageAndOptions form;
  asked_form = &form;
  command({});
  asked_form = nullptr;
  return form;
}

std::vector<OptionSpec> joined(std::initializer_list<std::vector<OptionSpec>> tables) {
  std::vector<OptionSpec> all;
  for (const auto& table : tables) all.insert(all.end(), table.begin(), table.end());
  return all;
}

namespace {

std::string command_of(const std::string& usage) { return usage.substr(0, usage.find(' ')); }

// Why a command has not what others have; empty: nothing to say.
const char* reason(const std::string& command, const OptionSpec& spec) {
  const bool needs_none = command == "plan" || command == "bench" || command == "rates";
  if (spec.name == "data-path" || spec.name == "valid-data-path")
    return needs_none ? "; no data are read here" : "";
  if (is_of_path(spec.group) && !command.empty() && !needs_none) return "; here the path says it";
  const bool specifies = command == "fork" || command == "extend";
  return specifies ? "; a path does not depend on it" : "";
}

}  // namespace

std::string owners_of(const std::string& command, const std::string& name) {
  std::vector<std::string> owners;
  std::string why;
  for (const Subcommand& s : subcommands()) {
    if (s.name == command) continue;
    for (const OptionSpec& spec : form_of(s.run).options) {
      if (name != long_name(spec) && name != short_name(spec)) continue;
      if (owners.empty()) why = reason(command, spec);
      owners.emplace_back(s.name);
    }
  }
  if (owners.empty()) return "";
  return fmt::format("is no option of {}, but of {}{}", command, fmt::join(owners, ", "), why);
}

void say_repetitions(std::span<const std::string> lines) {
  if (rank_among_several().value_or(0) != 0) return;
  for (const auto& line : lines)
    std::fprintf(stderr, "switchyard: [options] %s\n", printable_lines(line).c_str());
}

std::optional<Command> parse_or_help(std::span<const OptionSpec> specs, Arguments arguments,
                                     const char* usage) {
  if (asked_form != nullptr) {
    const auto group = OptionGroup::run;
    *asked_form = {usage, {specs.begin(), specs.end()}};
    asked_form->options.push_back({"config", OptionKind::text, group, "", config_help});
    asked_form->options.push_back({"help", OptionKind::flag, group, "", "list the options"});
    return std::nullopt;
  }
  auto command = parse_command(specs, arguments, [&](const std::string& name) {
    return owners_of(command_of(usage), name);
  });
  if (!command.help) {
    say_repetitions(describe_repetitions(specs, arguments));
    return command;
  }
  const auto all = subcommands();
  const auto self = std::ranges::find(all, command_of(usage), &Subcommand::name);
  std::printf("usage: switchyard %s\n\n%s", usage,
              help_text(specs, self == all.end() ? "" : self->example).c_str());
  return std::nullopt;
}

int run_on_all_ranks(std::span<const OptionSpec> specs, Arguments arguments, const char* usage,
                     const std::function<ExitCode(Command&, Communicator&)>& body) {
  std::optional<Command> command;
  std::exception_ptr problem;
  WorldOptions options{.timeout = distributed_timeout({})};
  std::string given;
  try {
    command = parse_or_help(specs, arguments, usage);
    if (!command) return 0;
    const Settings& settings = command->given;
    check(
        !settings.has("distributed-timeout-seconds") ||
            !settings.has("distributed-timeout-minutes"),
        "options",
        "--distributed-timeout-seconds and --distributed-timeout-minutes; one of them is allowed");
    options.timeout = distributed_timeout(settings);
    options.device = device_of(settings);
    options.deterministic = !settings.flag("no-deterministic");
    if (settings.has("interface")) options.interface = settings.text("interface");
    prepare_driver(settings);
    given = text_of_given(job_identity().host, command_of(usage), *command, options.device);
  } catch (const Error&) {
    problem = std::current_exception();
  }
  // Without MPI ranks meet over the device that could not be read; each has met the same.
  if (problem && !MpiEnvironment::launched()) std::rethrow_exception(problem);
  options.when_met = [&](ControlPlane& control) { agree_on_given(control, given, problem); };
  return run_in_world(options, [&](Communicator& world) { return body(*command, world); });
}

}  // namespace switchyard
