#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/command.h"
#include "core/error.h"
#include "core/files.h"
#include "core/printable.h"
#include "launch/path/run_folder.h"
#include "launch/slurm/batch_script.h"
#include "tools/command_support.h"
#include "tools/slurm_job.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// Without the number of an array's task, which Slurm puts in nowhere but in its log's name.
std::string name_of_all_tasks(std::string name) {
  for (size_t at = 0; (at = name.find("%a")) != std::string::npos;) name.erase(at, 2);
  constexpr const char* joints = "-_.";
  const size_t first = name.find_first_not_of(joints);
  if (first == std::string::npos) return "array";
  return name.substr(first, name.find_last_not_of(joints) - first + 1);
}

// The last part of RUN, RUN@STEP or a file's name.
std::string short_name(const SlurmJob& job) {
  if (job.given.has("job-name")) return job.given.text("job-name");
  fs::path path = fs::path(job.name).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::string name = path.filename().string();
  if (job.given.has("array")) name = name_of_all_tasks(name);
  return job.words[0] == "train" ? name : fmt::format("{}-{}", name, job.words[0]);
}

// The folder itself, or the first above it that is one for all tasks.
fs::path folder_of_all_tasks(const fs::path& folder) {
  fs::path above;
  for (const auto& part : folder) {
    if (part.string().find("%a") != std::string::npos) break;
    above /= part;
  }
  return above;
}

std::string script_file(const SlurmJob& job) {
  if (job.given.has("script")) return job.given.text("script");
  std::string name = short_name(job);
  std::ranges::replace(name, '/', '-');
  fs::path folder = parse_run_reference(job.name).folder;
  if (job.given.has("array")) folder = folder_of_all_tasks(folder);
  return (folder / "slurm" / (name + ".sbatch")).string();
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

// Whether the word behind it is its value.
bool takes_value(const std::string& word) {
  if (!word.starts_with("--") || word.find('=') != std::string::npos) return false;
  const auto options = slurm_options();
  return std::ranges::none_of(options, [&](const OptionSpec& option) {
    return option.kind == OptionKind::flag && word == "--" + option.name;
  });
}

// A subcommand without a -- before it, whose options would be taken for those of `slurm`.
void check_dashes(Arguments arguments) {
  const auto all = subcommands();
  for (size_t i = 1; i < arguments.size(); ++i) {
    const bool is_one = std::ranges::find(all, arguments[i], &Subcommand::name) != all.end();
    check(!is_one || takes_value(arguments[i - 1]), "slurm",
          "-- is missing before '{}'; such as switchyard slurm RUN --nodes 2 -- train --tp 2",
          arguments[i]);
  }
}

}  // namespace

int slurm_command(Arguments arguments) {
  const auto dashes = std::ranges::find(arguments, "--");
  if (dashes == arguments.end()) check_dashes(arguments);
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
  std::printf("# %s\n%s", printable(file.string()).c_str(), text.c_str());
  std::fflush(stdout);
  for (const auto& line : said)
    std::fprintf(stderr, "switchyard: [slurm] %s\n", printable_lines(line).c_str());
  if (given.flag("submit")) submit(file.string());
  return 0;
}

}  // namespace switchyard
