#include "launch/path/starts.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/ops/attention/attention.h"
#include "core/ops/cpu_identity.h"
#include "core/ops/matmul/tuning.h"
#include "core/text.h"
#include "launch/path/option_json.h"
#include "launch/path/run_folder.h"
#include "launch/path/specification_checks.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/rank_places.h"
#include "parallel/comm/rendezvous/host_list.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

Json versions_json(Device device) {
  Json all = {{"switchyard", SWITCHYARD_VERSION}};
  if (device == Device::cpu) {
    all["onednn"] = ops::cpu_identity().onednn_version;
    return all;
  }
  const GpuDescription gpu = describe_gpu();
  all["driver"] = gpu.driver_version;
  all["runtime"] = gpu.runtime_version;
  all["cublaslt"] = ops::tuning_identity().cublaslt;
  all["cudnn"] = ops::cudnn_version();
  all["nccl"] = nccl_version();
  return all;
}

// The next start may be made in another folder.
std::vector<std::string> with_absolute_prefixes(std::vector<std::string> blend) {
  const bool one = blend.size() == 1;
  for (size_t i = one ? 0 : 1; i < blend.size(); i += 2) {
    blend[i] = fs::absolute(blend[i]).lexically_normal().string();
  }
  return blend;
}

Json options_json(const Settings& run) {
  Json all = Json::object();
  for (const auto& spec : run_options()) {
    const std::string name = spec.long_name();
    if (!run.has(name)) continue;
    const bool is_folder = name == "tensorboard" && run.text(name) != "none";
    all[name] = name == "valid-data-path" ? Json(with_absolute_prefixes(run.list(name)))
                : is_folder ? Json(fs::absolute(run.text(name)).lexically_normal().string())
                            : option_json(spec, run);
  }
  return all;
}

Json start_json(const StartRecord& start) {
  const ops::CpuIdentity cpu = ops::cpu_identity();
  const bool on_cpu = start.device == Device::cpu;
  const Layout& layout = start.layout;
  return {{"start", start.number},
          {"time", now_in_utc("%Y-%m-%dT%H:%M:%SZ")},
          {"step", start.step},
          {"ranks", layout.ranks()},
          {"layout", {{"tp", layout.tp}, {"pp", layout.pp}, {"dp", layout.dp}}},
          {"micro_batch_size", start.run.integer("micro-batch-size")},
          {"threads", omp_get_max_threads()},
          {"instruction_set", cpu.instruction_set},
          {"product_instruction_set", cpu.product_instruction_set},
          {"device", on_cpu ? "cpu" : describe_gpu().name},
          {"versions", versions_json(start.device)},
          {"options", options_json(start.run)}};
}

// Which job did it, and where: for people, nothing of it decides over bits. Short however many
// hosts there are.
Json job_json() {
  constexpr size_t most = 2'000;
  const auto cut = [](std::string text) {
    return text.size() > most ? text.substr(0, most) + "..." : text;
  };
  const JobIdentity job = job_identity();
  std::vector<std::string> hosts;
  std::vector<int64_t> counts;
  for (const HostRanks& host : ranks_of_hosts(rank_places())) {
    hosts.push_back(host.host);
    counts.push_back(static_cast<int64_t>(host.ranks.size()));
  }
  if (hosts.empty()) {
    hosts = {job.host};
    counts = {1};
  }
  Json all = {{"hosts", cut(short_host_list(hosts))},
              {"ranks_of_hosts", cut(short_counts(counts))},
              {"user", job.user},
              {"process", getpid()}};
  const auto add = [&](const char* name, const std::string& text) {
    if (!text.empty()) all[name] = cut(text);
  };
  add("launcher", job.launcher);
  add("scheduler", job.scheduler);
  add("id", job.id);
  add("array", job.array);
  add("cluster", job.cluster);
  if (!job.scheduler.empty()) all["restarts"] = job.restarts;
  return all;
}

bool is_start(const std::string& line) {
  const auto parsed = parse_json_or_discard(line);
  return parsed.is_object() && parsed.contains("start") && parsed.at("start").is_number_integer();
}

std::string conditions_in(const Json& start) {
  Json some = Json::object();
  for (const char* name : {"layout", "micro_batch_size", "threads", "instruction_set",
                           "product_instruction_set", "device", "versions"}) {
    some[name] = start.value(name, Json());
  }
  if (some.at("versions").is_object()) some["versions"].erase("switchyard");
  return json_text(some);
}

}  // namespace

std::string conditions_of(const StartRecord& start) { return conditions_in(start_json(start)); }

std::map<int64_t, std::string> recorded_conditions(const fs::path& run) {
  std::map<int64_t, std::string> all;
  const fs::path file = run / "starts.jsonl";
  if (!fs::exists(file)) return all;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    if (!is_start(line)) continue;
    const Json start = parse_json(line);
    all[start.at("start").get<int64_t>()] = conditions_in(start);
  }
  return all;
}

void append_start(const fs::path& run, const StartRecord& start) {
  const fs::path file = run / "starts.jsonl";
  std::string text = fs::exists(file) ? read_file(file) : "";
  if (!text.empty() && text.back() != '\n') text += '\n';
  Json line = start_json(start);
  line["job"] = job_json();
  write_file_atomically(file, text + json_text(line) + '\n');
}

std::string last_start_line(const fs::path& run) {
  const fs::path file = run / "starts.jsonl";
  if (!fs::exists(file)) return "";
  std::istringstream lines(read_file(file));
  std::string last;
  for (std::string line; std::getline(lines, line);) {
    if (is_start(line)) last = line;
  }
  return last;
}

int64_t largest_start(const fs::path& run) {
  constexpr std::string_view key = "\"start\":";
  int64_t largest = 0;
  for (const char* name : {"starts.jsonl", "metrics.jsonl"}) {
    if (!fs::exists(run / name)) continue;
    std::istringstream lines(read_file(run / name));
    for (std::string line; std::getline(lines, line);) {
      const size_t at = line.find(key);
      if (at == std::string::npos) continue;
      std::string_view rest = std::string_view(line).substr(at + key.size());
      largest = std::max(largest, take_number<int64_t>(rest).value_or(0));
    }
  }
  return largest;
}

LastStart parse_start(const std::string& line) {
  LastStart last;
  if (line.empty()) return last;
  try {
    const auto parsed = parse_json(line);
    last.number = parsed.at("start");
    const auto& options = parsed.at("options");
    for (const auto& spec : run_options()) {
      if (!spec.remembered || !options.contains(spec.name)) continue;
      last.remembered.set(spec, option_text(spec, options.at(spec.name)));
    }
  } catch (const nlohmann::json::exception& problem) {
    fail("starts", "the last line of starts.jsonl is not what a start writes: {}", problem.what());
  }
  return last;
}

Settings with_remembered(const Settings& given, const Settings& remembered,
                         bool has_validation_part) {
  Settings all = given;
  for (const auto& spec : run_options()) {
    if (!all.has(spec.name) && remembered.has(spec.name)) {
      all.set(spec, remembered.list(spec.name));
    }
  }
  const bool validates = all.has("eval-interval") && all.integer("eval-interval") > 0;
  if (!validates && !given.has("valid-data-path")) all.erase("valid-data-path");
  // What is named or, at the path's first start, set apart for it is validated on, as in Megatron.
  const bool is_first = !remembered.has("eval-interval");
  const bool asks = given.has("valid-data-path") || (is_first && has_validation_part);
  if (!validates && asks && !given.has("eval-interval")) all.set_text("eval-interval", "1000");
  return all;
}

std::string show_remembered(const Settings& given, const Settings& remembered) {
  const Settings all = with_remembered(given, remembered);
  std::string text;
  for (const auto& spec : run_options()) {
    if (given.has(spec.name) || !all.has(spec.name) || !remembered.has(spec.name)) continue;
    const auto& values = all.list(spec.name);
    if (values.front() == spec.fallback || values != remembered.list(spec.name)) continue;
    text += (text.empty() ? "--" : " --") + spec.name + " " + show(values);
  }
  return text;
}

}  // namespace switchyard
