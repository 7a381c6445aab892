#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "launch/campaign/add_version.h"
#include "launch/campaign/agreement.h"
#include "launch/campaign/desired_paths.h"
#include "launch/campaign/local_executor.h"
#include "launch/campaign/look.h"
#include "launch/campaign/run_campaign.h"
#include "launch/campaign/slurm_executor.h"
#include "launch/campaign/submit_campaign.h"
#include "tools/campaign_text.h"
#include "tools/command_support.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr const char* usage =
    "campaign plan FILE | campaign run FILE | campaign submit FILE | campaign status FILE | "
    "campaign add-version FILE "
    "--name NAME --steps N --data-path PREFIX";

constexpr auto group = OptionGroup::run;

// Each belongs to some of the words; check_options tells them apart.
std::vector<OptionSpec> campaign_options() {
  return {{"json", OptionKind::flag, group, "", "plan, status: print one JSON object"},
          {.name = "device-tflops",
           .kind = OptionKind::real,
           .group = group,
           .help = "plan: what one device gives of the model's products, in TFLOP/s; for hours",
           .allowed = above(0)},
          {"without-data", OptionKind::flag, group, "",
           "plan: data need not be there; the vocabulary is vocab-size or the preset's"},
          {"dry-run", OptionKind::flag, group, "", "submit: show the jobs, queue none"},
          {"name", OptionKind::text, group, "", "add-version: its name"},
          {.name = "steps",
           .kind = OptionKind::integer,
           .group = group,
           .help = "add-version: its steps",
           .allowed = at_least(1)},
          {"data-path", OptionKind::list, group, "",
           "add-version: PREFIX of a token set, or WEIGHT PREFIX pairs of a blend (the data before "
           "go on)"},
          {.name = "share",
           .kind = OptionKind::real,
           .group = group,
           .help = "add-version: the share of its steps that its branch takes ([branch] says it)",
           .allowed = numbers("0 < share <= 1", [](double v) { return v > 0 && v <= 1; })},
          {.name = "held-out",
           .kind = OptionKind::list,
           .help = "add-version: NAME=PREFIX of sets that it is scored on",
           .adds_up = true}};
}

void check_options(const std::string& word, const Settings& given) {
  const std::map<std::string, std::vector<std::string>> allowed = {
      {"plan", {"json", "device-tflops", "without-data"}},
      {"run", {}},
      {"submit", {"dry-run"}},
      {"status", {"json"}},
      {"add-version", {"name", "steps", "data-path", "share", "held-out"}}};
  const auto found = allowed.find(word);
  check(found != allowed.end(), "campaign",
        "'{}'; plan, run, submit, status and add-version are allowed", word);
  for (const auto& [name, values] : given.all()) {
    check(std::ranges::count(found->second, name) > 0, "campaign",
          "--{} is no option of 'campaign {}'; see switchyard campaign --help", name, word);
  }
}

int plan(const fs::path& file, const Settings& given) {
  const Campaign campaign = read_campaign(file);
  const Desired desired = desired_of(campaign);
  const Found found = look_at(campaign, desired);
  const bool without_data = given.flag("without-data");
  if (!without_data) check_possible(campaign, desired, found);
  const auto rows = plan_campaign(campaign, desired, found, without_data);
  const double rate = given.has("device-tflops") ? 1e12 * given.real("device-tflops") : 0;
  std::fputs(given.flag("json") ? plan_json(campaign, desired, rows, rate).c_str()
                                : plan_text(campaign, desired, rows, rate).c_str(),
             stdout);
  return 0;
}

int status(const fs::path& file, const Settings& given) {
  const Campaign campaign = read_campaign(file);
  const Desired desired = desired_of(campaign);
  const Found found = look_at(campaign, desired);
  std::fputs(given.flag("json") ? status_json(campaign, desired, found).c_str()
                                : status_text(campaign, desired, found).c_str(),
             stdout);
  return 0;
}

int add(const fs::path& file, const Settings& given) {
  NewVersion version{
      .name = given.text("name"), .steps = given.integer("steps"), .data = given.list("data-path")};
  if (given.has("share")) version.share = given.real("share");
  if (given.has("held-out")) version.held_out = given.list("held-out");
  add_version(file, version);
  return 0;
}

std::unique_ptr<Executor> executor_of(const Campaign& campaign) {
  const auto& r = campaign.resources;
  if (r.executor == "slurm") return make_slurm_executor(campaign);
  LocalResources local;
  local.logs = campaign.folder / "logs";
  local.jobs = r.jobs;
  local.ranks = r.ranks;
  local.gpus = r.gpus;
  local.launcher = r.launcher;
  return make_local_executor(local);
}

}  // namespace

int campaign_command(Arguments arguments) {
  const auto specs = campaign_options();
  auto command = parse_or_help(specs, arguments, usage);
  if (!command) return 0;
  const auto words = take_names(*command, 2, "plan, run, submit, status or add-version, and FILE");
  const std::string& word = words[0];
  const fs::path file = words[1];
  check_options(word, command->given);
  std::error_code ignored;
  check(fs::is_regular_file(file, ignored), "campaign", "'{}' is no file; a campaign's is allowed",
        file.string());
  if (word == "plan") return plan(file, command->given);
  if (word == "status") return status(file, command->given);
  if (word == "submit") {
    submit_campaign(file, command->given.flag("dry-run"));
    return 0;
  }
  if (word == "add-version") return add(file, command->given);
  return static_cast<int>(run_campaign(file, executor_of));
}

}  // namespace switchyard
