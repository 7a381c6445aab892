#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/command.h"
#include "core/error.h"
#include "core/files.h"
#include "launch/path/run_folder.h"
#include "launch/slurm/batch_script.h"
#include "tools/command_support.h"
#include "tools/slurm_job.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The last part of RUN, RUN@STEP or a file's name.
std::string short_name(const SlurmJob& job) {
  if (job.given.has("job-name")) return job.given.text("job-name");
  fs::path path = fs::path(job.name).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  return job.words[0] == "train" ? name : fmt::format("{}-{}", name, job.words[0]);
}

std::string script_file(const SlurmJob& job) {
  if (job.given.has("script")) return job.given.text("script");
  std::string name = short_name(job);
  std::ranges::replace(name, '/', '-');
  const fs::path folder = parse_run_reference(job.name).folder / "slurm";
  return (folder / (name + ".sbatch")).string();
}

// Its pattern, unless it was given: %A_%a of an array's task, else %j.
std::string log_of(const SlurmJob& job, const fs::path& script) {
  if (job.given.has("output")) return job.given.text("output");
  const std::string stem = fs::absolute(script).replace_extension("").string();
  return log_pattern(stem) + (job.given.has("array") ? "-%A_%a.log" : "-%j.log");
}

// switchyard launch --srun ... -- WORDS, or the words alone where one process does the work.
std::vector<std::string> command_of(const SlurmJob& job) {
  std::vector<std::string> words{fs::read_symlink("/proc/self/exe").string()};
  const auto append = [&](const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
  };
  if (job.takes_ranks) {
    append({"launch", "--srun", "-np", std::to_string(job.tasks)});
    if (job.given.text("mpi") != "none") append({"--mpi", job.given.text("mpi")});
    if (job.given.integer("restarts") > 0) append({"--restarts", job.given.text("restarts")});
    if (job.given.has("min-nodes")) append({"--min-nodes", job.given.text("min-nodes")});
    if (!job.given.flag("no-requeue")) append({"--requeue"});
    if (job.given.has("srun-options")) append({"--srun-options", job.given.text("srun-options")});
    append({"--"});
  }
  append(job.words);
  return words;
}

BatchScript script_of(const SlurmJob& job, const fs::path& file) {
  BatchScript script;
  script.command = command_of(job);
  script.is_array = job.given.has("array");
  if (job.given.has("sbatch-option")) script.more = job.given.list("sbatch-option");
  auto& directives = script.directives;
  directives = {{"job-name", short_name(job)},
                {"nodes", std::to_string(job.nodes)},
                {"ntasks-per-node", std::to_string(job.tasks)}};
  for (const char* name : {"gpus-per-node", "cpus-per-task", "mem", "time", "partition", "account",
                           "qos", "array", "dependency"}) {
    if (job.given.has(name)) directives.emplace_back(name, job.given.text(name));
  }
  if (job.given.has("dependency")) directives.emplace_back("kill-on-invalid-dep", "yes");
  directives.emplace_back("chdir", fs::current_path().string());
  directives.emplace_back("output", log_of(job, file));
  directives.emplace_back("open-mode", "append");
  if (job.takes_ranks) {
    directives.emplace_back("signal", fmt::format("B:USR1@{}", job.given.text("signal-seconds")));
  }
  directives.emplace_back(job.given.flag("no-requeue") ? "no-requeue" : "requeue", "");
  if (job.given.has("min-nodes")) directives.emplace_back("no-kill", "");
  return script;
}

void submit(const std::string& file) {
  const auto said = run_command({"sbatch", file}, std::chrono::seconds(60));
  check(said.has_value(), ExitCode::other, "slurm",
        "sbatch is not in the PATH, or does not answer");
  std::fputs(said->output.c_str(), stdout);
  check(said->code == 0, ExitCode::other, "slurm", "sbatch {}: {}", file, said->errors);
}

}  // namespace

int slurm_command(Arguments arguments) {
  const auto dashes = std::ranges::find(arguments, "--");
  const Arguments before(arguments.begin(), dashes);
  auto command = parse_or_help(slurm_options(), before,
                               "slurm RUN --nodes N --tasks-per-node M -- train [options]");
  if (!command) return 0;
  const std::string name = take_run(*command, "RUN");
  const Settings given = with_fallbacks(slurm_options(), command->given);
  const size_t behind = dashes == arguments.end() ? 0 : 1;
  const SlurmJob job =
      slurm_job(given, name, {dashes + static_cast<ptrdiff_t>(behind), arguments.end()});
  const auto said = check_job(job);
  const fs::path file = script_file(job);
  const std::string text = text_of(script_of(job, file));
  make_folder(file.parent_path().empty() ? "." : file.parent_path());
  write_file_atomically(file, text);
  std::printf("# %s\n%s", file.c_str(), text.c_str());
  std::fflush(stdout);
  for (const auto& line : said) std::fprintf(stderr, "switchyard: [slurm] %s\n", line.c_str());
  if (given.flag("submit")) submit(file.string());
  return 0;
}

}  // namespace switchyard
