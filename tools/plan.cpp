#include "tools/plan_report.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "launch/engine/gpu_models.h"
#include "launch/path/average_document.h"
#include "launch/path/average_option.h"
#include "launch/path/run_folder.h"
#include "launch/path/run_settings.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

std::vector<std::string> known_gpu_names() {
  std::vector<std::string> names;
  for (const GpuModel& gpu : known_gpus()) names.emplace_back(gpu.name);
  return names;
}

std::vector<OptionSpec> plan_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> own = {
      {"world-size", integer, group, "", "ranks (tp x pp)"},
      {"gpu", text, group, "",
       fmt::format("refuse what does not fit: {}, or a size such as 80GiB", gpu_names()),
       such_as(known_gpu_names())},
      {"products", flag, group, "", "list every matrix product of a step"},
      {"json", flag, group, "", "print one JSON object"}};
  return joined({path_options(), run_options(), own});
}

Layout planned_layout(const Settings& run) {
  const int64_t tp = run.integer("tensor-model-parallel-size");
  const int64_t pp = run.integer("pipeline-model-parallel-size");
  constexpr int64_t most = 1 << 20;
  check(tp >= 1 && tp <= most && pp >= 1 && pp <= most, "layout",
        "--tp {} --pp {}; 1 to {} of each is allowed", tp, pp, most);
  const int64_t world = run.has("world-size") ? run.integer("world-size") : tp * pp;
  check(world >= 1 && world <= most, "layout", "{} ranks; 1 to {} are allowed", world, most);
  return layout_of(static_cast<int>(world), tp, pp);
}

// Fills in what a new path would need and a plan can do without, and says so.
Settings assume_rest(Settings given, const Settings& run, const Layout& layout,
                     std::vector<std::string>& assumed) {
  const bool has_preset = given.has("preset");
  if (has_preset && !given.has("seq-length")) {
    assumed.push_back(fmt::format("--seq-length {} (the preset's)",
                                  preset_sequence_length(given.text("preset"))));
  }
  if (has_preset && !given.has("vocab-size") && !given.has("data-path")) {
    assumed.push_back(
        fmt::format("--vocab-size {} (the preset's)", preset(given.text("preset")).vocabulary));
  }
  const int64_t micro = run.integer("micro-batch-size");
  if (!given.has("micro-batch-size"))
    assumed.push_back(fmt::format("--micro-batch-size {}", micro));
  if (!given.has("global-batch-size")) {
    constexpr int64_t most = 1 << 20;  // what is larger is refused later, by its own name
    const int64_t batch = std::clamp<int64_t>(micro, 1, most) * layout.dp * layout.pp;
    given.set_text("global-batch-size", std::to_string(batch));
    assumed.push_back(fmt::format("--global-batch-size {} (a micro-batch for each stage{})", batch,
                                  layout.dp > 1 ? " of each replica" : ""));
  }
  if (!given.flag("bf16") && !given.flag("fp16"))
    assumed.emplace_back("fp32 (else --bf16, --fp16)");
  return given;
}

// The path that `train` would continue or make of the same words, without ranks or memory.
PathSpecification path_of(const Command& command, const Settings& run, const Layout& layout,
                          std::vector<std::string>& assumed) {
  const Settings& given = command.given;
  const std::vector<std::string>& names = command.positional;
  check(names.size() <= 1, "options", "{} names were given; one RUN is allowed", names.size());
  if (names.empty() || (given.has("data-path") && !RunFolder(names[0]).exists())) {
    check(!given.has("load-step"), "path", "--load-step {} without a path; leave it out",
          given.has("load-step") ? given.text("load-step") : "");
    const Settings all = assume_rest(given, run, layout, assumed);
    if (given.has("data-path")) return new_path(all);
    auto planned = path_without_data(all);
    check_rotary_width(planned.model);
    return planned;
  }
  const RunFolder folder(names[0]);
  PathSpecification path = folder.read();
  check(path.kind == "path", "plan", "'{}' is {}; it is never trained on", names[0],
        describe_kind(path));
  check_against(path, given);
  if (given.has("load-step")) {
    const int64_t step = given.integer("load-step");
    if (path.lineage.empty() || step != path.start_step()) folder.checkpoint(step);
  }
  return path;
}

// Those that a start of the path would go on with.
std::vector<AverageRecord> averages_of(const Command& command) {
  if (command.positional.empty()) return {};
  const RunFolder run(command.positional[0]);
  const auto& given = command.given;
  const auto entry = given.has("load-step") && run.has(given.integer("load-step"))
                         ? run.checkpoint(given.integer("load-step"))
                         : run.latest().value_or(CheckpointEntry{});
  if (!entry.complete) return {};
  return averages_in(CheckpointReader(entry.folder).info()).records;
}

Planned plan(const Command& command) {
  const Settings run = with_fallbacks(plan_options(), command.given);
  apply_device_settings(run);
  if (run.has("gpu")) gpu_bytes(run.text("gpu"));
  Planned p;
  p.layout = planned_layout(run);
  p.saving = saving_options(run);
  p.path = path_of(command, run, p.layout, p.assumed);
  for (auto& line : rounded_sizes(p.path.model, command.given)) p.assumed.push_back(line);
  if (auto line = describe_positions(p.path); !line.empty()) p.assumed.push_back(std::move(line));
  // A GPU is planned for without one.
  Settings here = run;
  here.set_text("device", "cpu");
  p.engine = engine_options(p.path, here, true);
  if (!run.has("device") || device_named(run.text("device")) == Device::cuda) {
    p.engine.device = Device::cuda;
  }
  p.engine.averages = settle_averages(averages_of(command), command.given, 0);
  check_engine(p.engine, p.layout);
  return p;
}

// The stage whose ranks need most, in a line; throws Error where it does not fit.
std::string verdict(const std::vector<MemoryPlan>& memory, const std::string& gpu) {
  const auto most = std::ranges::max_element(memory, {}, &MemoryPlan::all_bytes);
  const auto gib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); };
  const std::string sizes =
      fmt::format("{:.1f} of {:.1f} GiB", gib(most->all_bytes()), gib(gpu_bytes(gpu)));
  check(most->all_bytes() <= gpu_bytes(gpu), "plan", "does not fit {}: a rank of stage {} needs {}",
        gpu, most - memory.begin(), sizes);
  return fmt::format("fits {}: {}", gpu, sizes);
}

}  // namespace

int plan_command(Arguments arguments) {
  const auto specs = plan_options();
  const auto command = parse_or_help(specs, arguments, "plan [RUN] [options of train]");
  if (!command) return 0;
  const Planned p = plan(*command);
  const auto memory = memory_of_stages(p);
  const bool json = command->given.flag("json");
  if (json) {
    print_plan_json(p, memory);
  } else {
    print_plan(p, memory, command->given.flag("products"));
  }
  if (!command->given.has("gpu")) return 0;
  std::fflush(stdout);  // an error comes behind the table
  const std::string fits = verdict(memory, command->given.text("gpu"));
  if (!json) std::printf("%s\n", fits.c_str());
  return 0;
}

}  // namespace switchyard
