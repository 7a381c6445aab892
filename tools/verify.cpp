#include <algorithm>
#include <cstdio>

#include "core/json.h"
#include "core/printable.h"
#include "launch/path/verify_run.h"
#include "tools/command_support.h"
#include "tools/commands.h"

namespace switchyard {

namespace {

Json to_json(const VerifiedRun& all, const std::string& run) {
  Json steps = Json::array();
  for (const VerifiedStep& step : all.steps) {
    Json one = {{"step", step.step}, {"ok", step.problem.empty()}};
    if (!step.id.empty()) one["id"] = step.id;
    if (step.problem.empty()) {
      one["files"] = step.files;
      one["bytes"] = step.bytes;
      one["tensors"] = step.tensors;
    } else {
      one["problem"] = step.problem;
      if (step.is_newer) one["newer"] = true;
    }
    steps.push_back(std::move(one));
  }
  return {{"run", run},
          {"ok", all.ok()},
          {"steps", std::move(steps)},
          {"problems", all.problems},
          {"newer", all.newer},
          {"notes", all.notes}};
}

void print(const VerifiedRun& all) {
  for (const VerifiedStep& step : all.steps) {
    if (step.problem.empty()) {
      std::printf("step %-10lld %lld files, %.1f MB, %lld tensors: every checksum holds\n",
                  static_cast<long long>(step.step), static_cast<long long>(step.files),
                  static_cast<double>(step.bytes) / 1e6, static_cast<long long>(step.tensors));
    } else {
      std::printf("step %-10lld %s: %s\n", static_cast<long long>(step.step),
                  step.is_newer ? "NEWER" : "DAMAGED", printable(step.problem).c_str());
    }
  }
  for (const auto& newer : all.newer) std::printf("NEWER: %s\n", printable(newer).c_str());
  for (const auto& problem : all.problems) std::printf("WRONG: %s\n", printable(problem).c_str());
  for (const auto& note : all.notes) std::printf("note: %s\n", printable(note).c_str());
  const auto damaged = std::ranges::count_if(
      all.steps, [](const VerifiedStep& step) { return !step.problem.empty() && !step.is_newer; });
  const auto newer =
      std::ranges::count_if(all.steps, &VerifiedStep::is_newer) + std::ssize(all.newer);
  std::printf("%zu saved steps, %lld damaged; %zu other problems%s\n", all.steps.size(),
              static_cast<long long>(damaged), all.problems.size(),
              newer > 0 ? "; some is of a newer version of the program" : "");
}

}  // namespace

int verify_command(Arguments arguments) {
  const std::vector<OptionSpec> specs = {
      {"json", OptionKind::flag, OptionGroup::run, "", "print one JSON object"}};
  auto command = parse_or_help(specs, arguments, "verify RUN[@STEP]");
  if (!command) return 0;
  const std::string run = take_run(*command, "RUN[@STEP]");
  const VerifiedRun all = verify_run(parse_run_reference(run));
  if (command->given.flag("json")) {
    std::printf("%s\n", json_text_replacing(to_json(all, run)).c_str());
  } else {
    print(all);
  }
  return static_cast<int>(all.code());
}

}  // namespace switchyard
