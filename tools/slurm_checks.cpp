#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "launch/path/command_line.h"
#include "launch/path/run_folder.h"
#include "launch/path/run_settings.h"
#include "tools/command_support.h"
#include "tools/slurm_job.h"

namespace switchyard {

namespace {

// The first number of "1-4%2" or "3,7".
std::string first_of_array(const std::string& array) {
  std::string_view rest = array;
  const auto number = take_number<int>(rest);
  check(number.value_or(-1) >= 0, "slurm", "--array {}; such as 1-4%2 or 3,7 is allowed", array);
  return std::to_string(*number);
}

// Those of the array's first task.
std::vector<std::string> words_of_a_task(const SlurmJob& job) {
  auto words = job.words;
  if (!job.given.has("array")) return words;
  const std::string number = first_of_array(job.given.text("array"));
  for (std::string& word : words)
    for (size_t at = 0; (at = word.find("%a", at)) != std::string::npos; at += number.size())
      word.replace(at, 2, number);
  return words;
}

// Where it is what Slurm calls a number; "h100:8" ends with one.
int64_t gpus_of_node(const SlurmJob& job) {
  if (!job.given.has("gpus-per-node")) return 0;
  const std::string& text = job.given.text("gpus-per-node");
  const auto number = parse_number<int64_t>(text.substr(text.find_last_of(':') + 1));
  check(number.value_or(0) > 0, "slurm", "--gpus-per-node {}; such as 8 or h100:8 is allowed",
        text);
  return *number;
}

void check_nodes(const SlurmJob& job, const Layout& layout, std::vector<std::string>& said) {
  check(job.nodes == 1 || job.tasks % layout.tp == 0, "slurm",
        "--tp {} with --tasks-per-node {}: groups would cross nodes, whose links are slower; a "
        "multiple of --tp is allowed",
        layout.tp, job.tasks);
  const int64_t gpus = gpus_of_node(job);
  check(gpus == 0 || job.tasks <= gpus, "slurm",
        "--tasks-per-node {} with --gpus-per-node {}; each rank takes a GPU: at most {} ranks",
        job.tasks, gpus, gpus);
  if (gpus > job.tasks)
    said.push_back(fmt::format("{} of the {} GPUs of each node stay idle", gpus - job.tasks, gpus));
  const int64_t least = job.given.has("min-nodes") ? job.given.integer("min-nodes") : job.nodes;
  check(least <= job.nodes, "slurm", "--min-nodes {} with --nodes {}; at most as many are allowed",
        least, job.nodes);
  if (job.given.has("min-nodes"))
    said.emplace_back(
        "--min-nodes: where the batch script's own node dies Slurm leaves the job RUNNING with "
        "nothing in it, until its time limit; scontrol requeue JOB by hand helps");
  check(!job.given.has("min-nodes") || job.given.text("mpi") != "mpirun", "slurm",
        "--min-nodes with --mpi mpirun, whose job ends with a node; none or pmix is allowed");
}

// The path that `train` would continue or make; nothing where another job is still to make it.
std::optional<PathSpecification> path_of(const SlurmJob& job, const std::string& run,
                                         const Settings& given, std::vector<std::string>& said) {
  const RunFolder folder(run);
  if (!folder.exists() && !given.has("data-path") && job.given.has("dependency")) {
    said.push_back(fmt::format("'{}' is not there yet, so its options are not checked", run));
    return std::nullopt;
  }
  if (!folder.exists()) {
    check(given.has("data-path"), "path",
          "there is no path in '{}'; a new one needs --data-path (is the name right?)", run);
    folder.check_name();
    folder.check_unused();
    return new_path(given);
  }
  PathSpecification path = folder.read();
  check(path.kind == "path", "train", "'{}' is {}; it is never trained on", run,
        describe_kind(path));
  check_against(path, given);
  return path;
}

void check_training(const SlurmJob& job, std::vector<std::string>& said) {
  const auto words = words_of_a_task(job);
  const auto specs = joined({path_options(), run_options()});
  Command command = parse_command(specs, std::span(words).subspan(1),
                                  [](const std::string& name) { return owners_of("train", name); });
  for (auto& line : describe_repetitions(specs, std::span(words).subspan(1)))
    said.push_back(std::move(line));
  const std::string run = take_run(command, "RUN");
  const Settings all = with_fallbacks(specs, command.given);
  const Layout layout =
      layout_of(static_cast<int>(job.nodes * job.tasks), all.integer("tensor-model-parallel-size"),
                all.integer("pipeline-model-parallel-size"));
  check_nodes(job, layout, said);
  check(!command.given.has("load-step") || job.given.flag("no-requeue"), "slurm",
        "--load-step {} would go back to it each time that the job is queued again; it is allowed "
        "with --no-requeue",
        command.given.has("load-step") ? command.given.text("load-step") : "");
  const auto path = path_of(job, run, command.given, said);
  if (!path) return;
  Settings here = with_fallbacks(run_options(), command.given);
  apply_device_settings(here);
  const bool on_gpus = gpus_of_node(job) > 0 ||
                       (here.has("device") && device_named(here.text("device")) == Device::cuda);
  here.set_text("device", "cpu");  // there may be no GPU where jobs are submitted
  EngineOptions options = engine_options(*path, here, true);
  if (on_gpus) options.device = Device::cuda;
  check_engine(options, layout);
}

}  // namespace

std::vector<std::string> check_job(const SlurmJob& job) {
  std::vector<std::string> said;
  if (job.words[0] == "train") {
    check_training(job, said);
  } else if (job.takes_ranks) {
    check_nodes(job, Layout{}, said);
  }
  return said;
}

}  // namespace switchyard
