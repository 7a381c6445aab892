#include "tests/launch/report/sample_runs.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include "core/error.h"
#include "core/files.h"

namespace fs = std::filesystem;

namespace switchyard::test {

namespace {

constexpr double highest_rate = 3e-3;

// As path.json was written from the first version on.
std::string path_json(const SampleRun& run) {
  return fmt::format(
      R"({{"format_version": 1, "kind": "path",
 "settings": {{"seq-length": 32, "global-batch-size": 2, "seed": 1}},
 "model": {{"layers": 1, "hidden": 32, "heads": 2, "query_groups": 2, "head_dim": 16,
            "ffn_hidden": 128, "vocabulary": 257, "max_positions": 32}},
 "schedule": {{"maximum": {}, "minimum": 0, "warmup": 0, "style": "{}", "decay_begin": {},
               "decay_from": {}, "decay_iters": {}}},
 "data_stages": [], "split": "1", "tokenizer": "byte", "lineage": [{}]}})",
      highest_rate, run.decay_iters > 0 ? "linear" : "constant", run.decay_begin, highest_rate,
      run.decay_iters, run.lineage);
}

Schedule schedule_of(int64_t decay_begin, int64_t decay_iters) {
  Schedule schedule;
  schedule.maximum = highest_rate;
  if (decay_iters == 0) return schedule;
  schedule.style = DecayStyle::linear;
  schedule.decay_begin = decay_begin;
  schedule.decay_from = highest_rate;
  schedule.decay_iters = decay_iters;
  return schedule;
}

void write_steps(const SampleRun& run, const fs::path& file) {
  std::mt19937 random(run.seed);
  std::normal_distribution<double> noise(0, 0.05);
  const Schedule schedule = schedule_of(run.decay_begin, run.decay_iters);
  std::ofstream log(file);
  for (int64_t step = run.first; step <= run.last; ++step) {
    const double rate = learning_rate(schedule, step);
    const bool spikes = std::ranges::find(run.spikes, step) != run.spikes.end();
    const double settled = 2.2 + 2.6 / (1 + static_cast<double>(step) / 60) + 50 * rate;
    log << fmt::format(
        R"({{"step":{},"start":1,"loss":{},"learning_rate":{},"grad_norm":1.0,"samples":{},)"
        R"("tokens":{},"tokens_per_second":{},"gflops":{},"milliseconds":20.5,"memory_bytes":1000)",
        step, settled + noise(random) + (spikes ? 3 : 0), rate, 2 * step, 64 * step,
        50000 + 9000 * noise(random), 40 + 8 * noise(random));
    if (run.eval_every > 0 && step % run.eval_every == 0) {
      log << fmt::format(R"(,"validation_loss":{},"validation_averages":{{"lawa":{{"loss":{}}}}})",
                         settled + 0.1, settled + 0.1 - 20 * rate);
    }
    log << (spikes ? ",\"spike\":true}\n" : "}\n");
  }
}

}  // namespace

std::string forked_from(const std::string& parent, int64_t step) {
  return fmt::format(R"({{"path": "../{}", "checkpoint": "", "step": {}, "samples": {}}})", parent,
                     step, 2 * step);
}

void write_run(const fs::path& folder, const SampleRun& run) {
  fs::create_directories(folder);
  write_file_atomically(folder / "path.json", path_json(run));
  if (run.last < run.first) return;
  write_steps(run, folder / "metrics.jsonl");
  const std::string goal = run.goal > 0 ? fmt::format(R"("train-iters":{})", run.goal) : "";
  write_file_atomically(
      folder / "starts.jsonl",
      fmt::format(R"({{"start":1,"time":"2026-11-29T17:20:31Z","step":{},"ranks":4,)"
                  R"("layout":{{"tp":2,"pp":1,"dp":2}},"device":"cpu",)"
                  R"("versions":{{"switchyard":"0.1.0"}},"options":{{{}}}}})"
                  "\n",
                  run.first - 1, goal));
}

namespace {

// An arm with one seed, of which `reached` of the four versions are finished and, where `goes_on`,
// one more is half done.
class SampleArm {
 public:
  SampleArm(ReportInput& input, fs::path folder, std::string arm, int64_t seed, int64_t reached,
            bool goes_on)
      : input_(input),
        folder_(std::move(folder)),
        arm_(std::move(arm)),
        seed_(seed),
        reached_(reached),
        goes_on_(goes_on) {}

  void switch_paths() {
    const int64_t at = reached_ > 0 ? length * reached_ - share : 0;
    add("main", "", 0, length * versions - share, at + (goes_on_ ? length : 0), 0);
    for (int64_t i = 1; i <= versions; ++i) {
      const int64_t fork = length * i - share;
      add(version(i), "main", fork, length * i, done(i, fork, length * i), share);
      add_version(i, length * i + share * (i - 1), 0.004);
    }
  }
  void from_scratch() {
    for (int64_t i = 1; i <= versions; ++i) {
      add(version(i), "", 0, length * i, done(i, 0, length * i), length * i);
      add_version(i, length * i * (i + 1) / 2, 0);
    }
  }
  void continued() {
    for (int64_t i = 1; i <= versions; ++i) {
      const int64_t fork = length * (i - 1);
      add(version(i), i > 1 ? version(i - 1) : "", fork, length * i, done(i, fork, length * i),
          length);
      add_version(i, length * i, 0.02);
    }
  }

 private:
  static constexpr int64_t length = 100, share = 60, versions = 4;

  static std::string version(int64_t i) { return fmt::format("v{}", i); }
  std::string named(const std::string& name) const {
    return fmt::format("{}/seed-{}/{}", arm_, seed_, name);
  }
  std::string state(int64_t i) const {
    if (i <= reached_) return "finished";
    return i == reached_ + 1 && goes_on_ ? "running" : "waiting";
  }
  int64_t done(int64_t i, int64_t from, int64_t to) const {
    if (i <= reached_) return to;
    return i == reached_ + 1 && goes_on_ ? (from + to) / 2 : from;
  }
  // `at` is its last step; the fork step where it has not begun.
  void add(const std::string& name, const std::string& parent, int64_t fork, int64_t end,
           int64_t at, int64_t decay) {
    ReportPath path{.name = named(name), .folder = folder_ / named(name)};
    path.is_there = at > fork;
    path.parent = parent.empty() ? "" : named(parent);
    path.fork_step = fork;
    path.last_step = end;
    path.schedule = schedule_of(end - decay, decay);
    if (path.is_there) {
      write_run(path.folder, {.lineage = parent.empty() ? "" : forked_from(parent, fork),
                              .first = fork + 1,
                              .last = std::min(at, end),
                              .decay_begin = end - decay,
                              .decay_iters = decay,
                              .goal = end,
                              .eval_every = 20,
                              .seed = static_cast<unsigned>(seed_)});
    }
    input_.paths.push_back(path);
  }
  void add_version(int64_t i, int64_t planned, double behind) {
    ReportVersion one{.name = version(i),
                      .arm = arm_,
                      .seed = seed_,
                      .path = named(version(i)),
                      .state = state(i)};
    one.planned_steps = planned;
    one.steps_from_scratch = length * i * (i + 1) / 2;
    if (i <= reached_) one.counted_steps = planned;
    if (state(i) == "running") one.counted_steps = planned - share / 2;
    if (i <= reached_) {
      one.redone_steps = i >= 2 ? 7 * seed_ : 0;
      for (const char* set : {"new", "old"}) {
        const auto place = static_cast<double>(i);
        const double loss = 2.41 - 0.08 * place + behind * place +
                            0.003 * static_cast<double>(seed_) + (set[0] == 'o' ? 0.2 : 0);
        one.scores.push_back({set, loss, std::exp(loss), loss / std::log(2) / 4.1, 40000});
      }
    }
    input_.versions.push_back(one);
  }

  ReportInput& input_;
  fs::path folder_;
  std::string arm_;
  int64_t seed_, reached_;
  bool goes_on_;
};

}  // namespace

ReportInput half_done_campaign(const fs::path& folder) {
  ReportInput input;
  input.title = "Four versions, three arms";
  for (int64_t seed = 1; seed <= 3; ++seed) {
    const int64_t reached = seed == 1 ? 3 : seed == 2 ? 2 : 0;
    SampleArm(input, folder, "path-switching", seed, reached, true).switch_paths();
    SampleArm(input, folder, "ptfs", seed, reached, seed == 1).from_scratch();
    SampleArm(input, folder, "cpt", seed, reached, false).continued();
  }
  return input;
}

}  // namespace switchyard::test
