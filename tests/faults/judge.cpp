#include "tests/faults/judge.h"

#include <xxhash.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "launch/metrics.h"
#include "launch/path/path_lock.h"
#include "launch/path/pins.h"
#include "launch/path/run_folder.h"
#include "launch/path/starts.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/index.h"

namespace fs = std::filesystem;

namespace switchyard::test {

namespace {

std::string key_of(const IndexedTensor& tensor, const StoredPiece& piece) {
  return fmt::format("{} at {} of {}", tensor.tensor.name, piece.box.offset.to_string(),
                     piece.box.extent.to_string());
}

StepChecksums checksums_of(const CheckpointIndex& index) {
  StepChecksums all;
  for (const IndexedTensor& tensor : index.tensors) {
    for (const StoredPiece& piece : tensor.pieces)
      all[key_of(tensor, piece)] = fmt::format("{:016x}", piece.checksum);
  }
  return all;
}

bool is_moment(const std::string& key) { return key.starts_with("/optimizer/exp_avg"); }

// All of the step, or all but its moments.
std::string difference(const StepChecksums& found, const StepChecksums& wanted) {
  const bool whole = std::ranges::any_of(found, [](const auto& e) { return is_moment(e.first); });
  for (const auto& [key, checksum] : wanted) {
    if (!whole && is_moment(key)) continue;
    const auto mine = found.find(key);
    if (mine == found.end()) return key + " is missing";
    if (mine->second != checksum) return key + " has other bits than the run that was never hit";
  }
  return "";
}

// "RUN/checkpoints/step-N" of each step that counts as complete.
std::map<std::string, std::vector<int64_t>> complete_steps(const Image& image) {
  std::map<std::string, std::vector<int64_t>> runs;
  constexpr std::string_view middle = "/checkpoints/step-";
  for (const auto& [name, content] : image) {
    if (!content && !name.ends_with("/checkpoints")) continue;
    if (content && name.ends_with("/path.json")) runs[name.substr(0, name.size() - 10)];
    const size_t at = name.find(middle);
    if (at == std::string::npos || !name.ends_with("/checkpoint.h5")) continue;
    std::string_view number = std::string_view(name).substr(at + middle.size());
    const auto step = take_number<int64_t>(number);
    if (step && number == "/checkpoint.h5") runs[name.substr(0, at)].push_back(*step);
  }
  return runs;
}

}  // namespace

Judge::Judge(fs::path scratch, fs::path reference)
    : scratch_(std::move(scratch)), reference_(std::move(reference)) {}

uint64_t Judge::hash_of(const Image& image, const std::string& name) {
  std::string all = name;
  for (auto it = image.lower_bound(name + "/"); it != image.end(); ++it) {
    if (!it->first.starts_with(name + "/")) break;
    all += fmt::format("\n{} {:x}", it->first, it->second ? it->second->hash : 0);
  }
  return XXH3_64bits(all.data(), all.size());
}

const StepChecksums* Judge::reference_of(const std::string& run, int64_t step) {
  const auto known = references_.find({run, step});
  if (known != references_.end()) return &known->second;
  const fs::path folder = checkpoint_folder(reference_ / run / "checkpoints", step);
  if (reference_.empty() || !fs::exists(folder / "checkpoint.h5")) return nullptr;
  return &(references_[{run, step}] = checksums_of(CheckpointReader(folder).index()));
}

std::string Judge::read_step(const Image& image, const std::string& folder, const std::string& run,
                             int64_t step) {
  const fs::path place = checkpoint_folder(scratch_, step);
  fs::remove_all(place);
  make_folder(place);
  write_image(image, folder, place);
  std::string fault;
  try {
    const CheckpointReader reader(place);
    reader.verify();
    if (reader.info().step != step) fault = fmt::format("it says step {}", reader.info().step);
    const StepChecksums* wanted = reference_of(run, step);
    if (wanted && fault.empty()) fault = difference(checksums_of(reader.index()), *wanted);
  } catch (const std::exception& problem) {
    fault = problem.what();
  }
  fs::remove_all(place);
  return fault.empty() ? ""
                       : fmt::format("step {} of {} counts as complete, but {}", step, run, fault);
}

std::string Judge::fault_of_step(const Image& image, const std::string& folder,
                                 const std::string& run, int64_t step) {
  const uint64_t hash = hash_of(image, folder);
  const auto known = steps_.find(hash);
  if (known != steps_.end()) return known->second;
  return steps_[hash] = read_step(image, folder, run, step);
}

namespace {

// Whole lines, one a step, up to `last`; each of a start that is recorded.
std::string fault_of_metrics(const fs::path& run, int64_t first, int64_t last) {
  const auto starts = recorded_conditions(run);
  std::istringstream lines(fs::exists(run / "metrics.jsonl") ? read_file(run / "metrics.jsonl")
                                                             : std::string());
  int64_t next = first;
  for (std::string line; std::getline(lines, line); ++next) {
    const auto parsed = parse_json_or_discard(line);
    if (!parsed.is_object()) return "metrics.jsonl keeps a line that is not whole";
    if (parsed.at("step") != next)
      return fmt::format("metrics.jsonl has step {} where {} belongs",
                         parsed.at("step").get<int64_t>(), next);
    if (!starts.contains(parsed.at("start").get<int64_t>()))
      return "metrics.jsonl names a start that starts.jsonl lacks";
  }
  return next > last ? ""
                     : fmt::format("metrics.jsonl ends before step {}, which is saved: at {}", last,
                                   next - 1);
}

std::string fault_of_files(const fs::path& folder) {
  const RunFolder run(folder);
  const auto path = run.read();
  read_pins(folder);
  const auto last = run.latest();
  if (!holder_of(run).empty()) return "it counts as held: " + holder_of(run);
  const PathLock lock(run, std::chrono::milliseconds(0));
  if (path.kind != "path") return "";
  if (fs::exists(folder / "starts.jsonl")) parse_start(last_start_line(folder));
  const int64_t step = last ? last->step : path.start_step();
  { const MetricsLog log(folder, step); }
  return fault_of_metrics(folder, path.start_step() + 1, step);
}

}  // namespace

std::string Judge::start_again(const Image& image, const std::string& run) {
  const fs::path place = scratch_ / "run";
  fs::remove_all(place);
  make_folder(place);
  std::string fault;
  try {
    write_image(image, run, place);
    fault = fault_of_files(place);
  } catch (const std::exception& problem) {
    fault = problem.what();
  }
  fs::remove_all(place);
  return fault.empty() ? "" : fmt::format("{}: {}", run, fault);
}

std::string Judge::fault_of_lineage(const Image& image, const std::string& run, bool is_complete) {
  if (run.starts_with('.')) return "";  // a folder that is not finished
  if (!image.contains(run + "/path.json"))
    return is_complete ? run + " has complete steps, but no path.json" : "";
  Image files;  // without the shards, whose names and contents decide nothing here
  for (const auto& [name, content] : image) {
    if (!name.starts_with(run + "/")) continue;
    if (name.find("/shards") == std::string::npos && !name.ends_with(".h5.tmp"))
      files[name] = content;
  }
  const uint64_t hash = hash_of(files, run);
  const auto known = lineages_.find(hash);
  if (known != lineages_.end()) return known->second;
  return lineages_[hash] = start_again(files, run);
}

namespace {

std::string fault_of_lines(const Image& image, const std::string& run, int64_t last) {
  std::set<int64_t> found;
  for (const char* name : {"/metrics.jsonl", "/metrics.discarded.jsonl"}) {
    const auto file = image.find(run + name);
    if (file == image.end() || !file->second) continue;
    std::istringstream lines(file->second->bytes);
    for (std::string line; std::getline(lines, line);) {
      const auto parsed = parse_json_or_discard(line);
      if (parsed.is_object()) found.insert(parsed.value("step", int64_t{-1}));
    }
  }
  for (int64_t step = 1; step <= last; ++step) {
    if (!found.contains(step)) return fmt::format("the record of step {} of {} is gone", step, run);
  }
  return "";
}

// The run's steps that count as complete, against what was promised.
std::vector<std::string> broken_promises(const Image& image, const std::string& run,
                                         const Promises::Run& promised,
                                         const std::vector<int64_t>& steps) {
  std::vector<std::string> broken;
  if (promised.exists && !image.contains(run + "/path.json"))
    broken.push_back(run + " was there, but is gone");
  for (const int64_t step : promised.steps) {
    if (std::ranges::count(steps, step) == 0)
      broken.push_back(fmt::format("step {} of {} was saved, but is not there", step, run));
  }
  const bool has_newest =
      std::ranges::any_of(steps, [&](int64_t step) { return step >= promised.newest; });
  if (promised.newest >= 0 && !promised.gives_up && !has_newest)
    broken.push_back(
        fmt::format("{} has no step from {} on, which was saved", run, promised.newest));
  for (const int64_t step : promised.pinned) {
    const std::string pin = fmt::format("{}/pins/step-{:08}--", run, step);
    const auto at = image.lower_bound(pin);
    const bool there = at != image.end() && at->first.starts_with(pin) && at->second &&
                       parse_json_or_discard(at->second->bytes).is_object();
    if (!there) broken.push_back(fmt::format("the pin of step {} of {} is not there", step, run));
  }
  broken.push_back(fault_of_lines(image, run, promised.lines));
  return broken;
}

}  // namespace

std::vector<std::string> Judge::faults(const Image& image, const Promises& promises) {
  std::vector<std::string> all;
  auto complete = complete_steps(image);
  for (const auto& [run, steps] : complete) {
    for (const int64_t step : steps) {
      const std::string folder = checkpoint_folder(run + "/checkpoints", step).string();
      all.push_back(fault_of_step(image, folder, run, step));
    }
    all.push_back(fault_of_lineage(image, run, !steps.empty()));
  }
  for (const auto& [name, hash] : promises.whole()) {
    if (hash != hash_of(image, name))
      all.push_back(name + " is not what it was when its command ended");
  }
  for (const auto& [run, promised] : promises.runs()) {
    std::ranges::move(broken_promises(image, run, promised, complete[run]),
                      std::back_inserter(all));
  }
  std::erase(all, "");
  return all;
}

}  // namespace switchyard::test
