#include "launch/path/prune.h"
#include "core/printable.h"
#include "launch/path/path_lock.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/json.h"
#include "launch/path/starts.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

const char* word_of(Fate fate) {
  switch (fate) {
    case Fate::stays:
      return "stays";
    case Fate::loses_moments:
      return "loses moments";
    case Fate::goes:
      break;
  }
  return "goes";
}

double megabytes(int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

// The rows of `train`, whose values are remembered.
std::vector<OptionSpec> keep_options() {
  auto options = run_options();
  std::erase_if(options, [](const OptionSpec& spec) { return !spec.name.starts_with("keep-"); });
  return options;
}

Settings keep_settings(const RunFolder& run, const Settings& given) {
  const Settings remembered = parse_start(last_start_line(run.folder())).remembered;
  Settings all;
  for (const OptionSpec& spec : keep_options()) {
    if (!given.has(spec.name) && !remembered.has(spec.name)) continue;
    all.set(spec, (given.has(spec.name) ? given : remembered).list(spec.name));
  }
  return with_fallbacks(keep_options(), all);
}

Json report_json(const RunFolder& run, const Settings& keep, const PruneReport& report, bool done) {
  Json options = Json::object(), steps = Json::array(), others = Json::array();
  for (const OptionSpec& spec : keep_options()) options[spec.name] = keep.integer(spec.name);
  for (const auto& [fate, bytes, frees] : report.steps) {
    steps.push_back({{"step", fate.step},
                     {"fate", word_of(fate.fate)},
                     {"why", fate.why},
                     {"bytes", bytes},
                     {"frees", frees}});
  }
  for (const auto& [name, bytes, goes] : report.others) {
    others.push_back({{"folder", name}, {"fate", goes ? "goes" : "stays"}, {"bytes", bytes}});
  }
  return {{"run", run.folder().string()}, {"options", std::move(options)},
          {"steps", std::move(steps)},    {"others", std::move(others)},
          {"frees", report.frees()},      {"done", done}};
}

void print_lines(const PruneReport& report) {
  for (const auto& [fate, bytes, frees] : report.steps) {
    const bool stays = fate.fate == Fate::stays;
    std::printf("step %-9lld %-13s %s%10.1f MB  %s\n", static_cast<long long>(fate.step),
                word_of(fate.fate), stays ? "holds" : "frees", megabytes(stays ? bytes : frees),
                printable(fate.why).c_str());
  }
  for (const auto& [name, bytes, goes] : report.others) {
    std::printf("%s %s, %.1f MB%s\n", printable(name).c_str(), goes ? "goes" : "stays",
                megabytes(bytes), goes ? "" : " (--discarded removes it)");
  }
}

// What was done, or would be.
void print_result(const Settings& keep, const PruneReport& report, bool done) {
  if (const auto vain = describe_vain_retention(keep); !vain.empty())
    std::printf("%s\n", vain.c_str());
  const bool goes =
      std::ranges::any_of(report.steps, [](const auto& s) { return s.fate.fate != Fate::stays; }) ||
      std::ranges::any_of(report.others, &PrunedFolder::goes);
  if (goes) {
    std::printf(done ? "%.1f MB freed\n" : "%.1f MB would be freed; --yes does it\n",
                megabytes(report.frees()));
    return;
  }
  const auto options = retention_options(keep);
  const bool asks = options.checkpoints > 0 || options.moments > 0;
  std::printf("nothing goes%s\n",
              asks ? ""
                   : ": neither --keep-checkpoints nor --keep-moments is given, now or at the "
                     "last start");
}

}  // namespace

int prune_command(Arguments arguments) {
  const auto group = OptionGroup::run;
  const auto specs =
      joined({keep_options(),
              {lock_wait_option(),
               {"discarded", OptionKind::flag, group, "", "what lies in RUN/discarded goes, too"},
               {"yes", OptionKind::flag, group, "", "do it; else it is only shown"},
               {"json", OptionKind::flag, group, "", "print one JSON object"}}});
  auto command = parse_or_help(specs, arguments, "prune RUN");
  if (!command) return 0;
  const Settings& given = command->given;
  const RunFolder run(take_run(*command, "RUN"));
  check(run.read().kind != "average", "prune", "'{}' is an average, a single saved step; it stays",
        run.folder().string());
  const Settings keep = keep_settings(run, given);
  const PruneRequest request{retention_options(keep), given.flag("discarded"),
                             lock_patience(given)};
  const bool done = given.flag("yes");
  const PruneReport report = done ? prune(run, request) : survey(run, request);
  if (given.flag("json")) {
    std::printf("%s\n", json_text_replacing(report_json(run, keep, report, done)).c_str());
    return 0;
  }
  print_lines(report);
  print_result(keep, report, done);
  return 0;
}

}  // namespace switchyard
