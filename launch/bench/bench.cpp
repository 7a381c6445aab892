#include "launch/bench/bench.h"

#include <fmt/ranges.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include "core/error.h"
#include "core/logging.h"
#include "core/random.h"
#include "launch/bench/device_rates.h"
#include "launch/bench/matrix_rate.h"
#include "launch/engine/engine.h"
#include "launch/engine/matmul_choices.h"
#include "launch/path/run_settings.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/rendezvous/job_environment.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

// NVIDIA H100 Tensor Core GPU datasheet: 1,979 TFLOP/s of bf16 with sparsity, half of it without.
constexpr double hopper_peak = 989e12;

int64_t gpu_bytes_taken() {
  const GpuDescription gpu = describe_gpu();
  return gpu.total_bytes - gpu.free_bytes;
}

DType precision_of(const Settings& s) {
  check(!(s.flag("bf16") && s.flag("fp16")), "bench",
        "--bf16 and --fp16 together; one of them is allowed");
  if (s.flag("fp16")) return DType::f16;
  return s.flag("bf16") ? DType::bf16 : DType::f32;
}

EngineOptions bench_engine(const Settings& s) {
  EngineOptions o;
  o.model = preset(s.text("preset"));
  o.dtype = precision_of(s);
  o.device = device_of(s);
  o.sequence_length =
      s.has("seq-length") ? s.integer("seq-length") : preset_sequence_length(s.text("preset"));
  o.micro_batch = s.integer("micro-batch-size");
  o.global_batch = s.has("global-batch-size") ? s.integer("global-batch-size") : o.micro_batch;
  o.head_chunk = s.integer("head-chunk-size");
  o.deterministic = !s.flag("no-deterministic");
  o.cuda_graph = s.flag("cuda-graph");
  o.optimizer.adamw.weight_decay = 0.1;
  check(o.sequence_length >= 1, "bench", "--seq-length {}; at least 1 is allowed",
        o.sequence_length);
  check(o.model.positions == Positions::rotary || o.sequence_length <= o.model.max_positions,
        "bench", "--seq-length {} with {} learned positions; at most as many are allowed",
        o.sequence_length, o.model.max_positions);
  check(o.global_batch >= 1, "bench", "--global-batch-size {}; at least 1 is allowed",
        o.global_batch);
  return o;
}

int64_t warm_up_of(const Settings& s, Device device) {
  if (s.has("warm-up")) return s.integer("warm-up");
  return device == Device::cuda ? 3 : 2;
}

void check_bench(const Settings& s, Device device) {
  const auto job = job_environment();
  check(!MpiEnvironment::launched() && (!job || job->size == 1), "bench",
        "several ranks were started; bench is for one");
  check(s.integer("steps") >= 1 && warm_up_of(s, device) >= 1, "bench",
        "--steps {} --warm-up {}; at least 1 of each is allowed", s.text("steps"),
        warm_up_of(s, device));
  constexpr double longest = 3600;
  constexpr int64_t largest = 65536;
  const double seconds = s.real("matrix-seconds");
  const int64_t size = s.integer("matrix-size");
  check(seconds > 0 && seconds <= longest && size >= 1 && size <= largest, "bench",
        "--matrix-seconds {} --matrix-size {}; above 0 to {} and 1 to {} is allowed",
        s.text("matrix-seconds"), s.text("matrix-size"), longest, largest);
  if (!s.has("tuning-folder")) return;
  const std::string& folder = s.text("tuning-folder");
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  const bool writable = !problem && access(folder.c_str(), W_OK) == 0;
  check(writable, ExitCode::storage, "bench", "--tuning-folder {} cannot be written: {}", folder,
        problem ? problem.message() : std::strerror(errno));
}

constexpr int64_t more_calls = 256;  // of a step's end, beside those of its microbatches

// {operator: backends}, each once, in alphabetical order.
std::vector<std::pair<std::string, std::string>> backends_of(
    const std::vector<Profiler::Line>& lines) {
  std::map<std::string, std::set<std::string>> all;
  for (const auto& line : lines) {
    all[line.operation].insert(line.note.backend.empty() ? "own kernels" : line.note.backend);
  }
  std::vector<std::pair<std::string, std::string>> backends;
  backends.reserve(all.size());
  for (const auto& [operation, names] : all) {
    backends.emplace_back(operation, fmt::format("{}", fmt::join(names, ", ")));
  }
  return backends;
}

// Steps on random tokens, timed.
class Bench {
 public:
  Bench(const EngineOptions& options, const Settings& s)
      : options_(options), mesh_(make_mesh({}, *world_)), profiler_(options.device) {
    choose_products(s);
    engine_ = std::make_unique<Engine>(options, mesh_);
    engine_->initialize(options.seed);
  }

  void run(const Settings& s, BenchResult& result);
  void profile(BenchResult& result);

 private:
  void choose_products(const Settings& s);
  void queue(int64_t step);
  void rehearse(BenchResult& result);
  void run_on_cpu(int64_t warm_up, BenchResult& result);
  void run_on_gpu(int64_t warm_up, BenchResult& result);
  void measure_device(const Settings& s, BenchResult& result);

  EngineOptions options_;
  std::unique_ptr<Communicator> world_ = make_self_communicator();
  Mesh mesh_;
  std::unique_ptr<Engine> engine_;
  Profiler profiler_;
  int64_t next_step_ = 1;
};

void Bench::choose_products(const Settings& s) {
  if (options_.device == Device::cpu || s.flag("no-matmul-tuning")) return;
  const std::string folder = s.has("tuning-folder") ? s.text("tuning-folder") : "";
  settle_matmul_choices(folder, options_, mesh_);
  if (!folder.empty()) keep_matmul_choices(folder);
}

void Bench::queue(int64_t step) {
  const auto tokens_of = [&](int64_t sample, std::span<int32_t> tokens,
                             std::span<int32_t> targets) {
    const RandomKey key{0, static_cast<uint32_t>(step), random_purpose("bench")};
    const auto n = tokens.size();
    const auto vocabulary = static_cast<uint64_t>(options_.model.vocabulary);
    for (size_t i = 0; i < n; ++i) {
      const uint64_t element = static_cast<uint64_t>(sample) * (n + 1) + i;
      tokens[i] = static_cast<int32_t>(key.word(element) % vocabulary);
      targets[i] = static_cast<int32_t>(key.word(element + 1) % vocabulary);
    }
  };
  engine_->queue_step(step, 1e-4, tokens_of);
}

void Bench::run_on_cpu(int64_t warm_up, BenchResult& result) {
  MatrixRate rate(2048, options_.dtype);
  int64_t allocations = 0;
  const int64_t all = warm_up + result.steps;
  for (int64_t step = 1; step <= all; ++step) {
    const auto begin = Clock::now();
    queue(step);
    engine_->finish_step();
    const double ms = 1e3 * std::chrono::duration<double>(Clock::now() - begin).count();
    for (int i = 0; i < 3; ++i) rate.measure(engine_->context());
    if (step == 1) allocations = memory_statistics().allocations;
    if (step > warm_up) result.all_milliseconds.push_back(ms);
    log::info("step {} of {}: {:.0f} ms, matrix rate {:.1f} GFLOP/s", step, all, ms,
              rate.best() / 1e9);
  }
  result.milliseconds = std::ranges::min(result.all_milliseconds);
  result.matrix_rate = rate.best();
  result.allocations_after_first_step = memory_statistics().allocations - allocations;
  next_step_ = all + 1;
}

// Steps follow each other on the stream, an event behind each.
void Bench::run_on_gpu(int64_t warm_up, BenchResult& result) {
  Stream& stream = engine_->context().stream;
  const int64_t all = warm_up + result.steps;
  std::deque<Event> ends;
  int64_t allocations = 0, taken = 0;
  for (int64_t i = 0; i <= all; ++i) ends.emplace_back(Device::cuda, Event::Timing::measured);
  const auto finish = [&](int64_t step) {
    engine_->finish_step();
    if (step == 1) allocations = memory_statistics().allocations;
    if (step == 2) taken = gpu_bytes_taken();
    if (step <= warm_up) return;
    const auto i = static_cast<size_t>(step);
    ends[i].synchronize();
    const double ms = Event::milliseconds(ends[i - 1], ends[i]);
    result.all_milliseconds.push_back(ms);
    log::info("step {} of {}: {:.1f} ms", step, all, ms);
  };
  ends.front().record(stream);
  for (int64_t step = 1; step <= all; ++step) {
    queue(step);
    ends[static_cast<size_t>(step)].record(stream);
    if (step > 1) finish(step - 1);
  }
  finish(all);
  auto sorted = result.all_milliseconds;
  std::ranges::sort(sorted);
  const size_t half = sorted.size() / 2;
  result.milliseconds =
      sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  result.allocations_after_first_step = memory_statistics().allocations - allocations;
  result.memory_bytes = memory_statistics().bytes;  // timing of products took more for a while
  result.gpu_bytes = gpu_bytes_taken();
  result.gpu_bytes_grown = all > 2 ? result.gpu_bytes - taken : 0;
  next_step_ = all + 1;
}

void Bench::measure_device(const Settings& s, BenchResult& result) {
  result.device = describe_gpu().name;
  result.peak_flops = hopper_peak;
  DeviceRatesOptions o;
  o.device = Device::cuda;
  o.size = s.integer("matrix-size");
  o.seconds = s.real("matrix-seconds");
  o.copy_mib = 256;
  o.dtypes = {options_.dtype};
  const DeviceRates rates = measure_device_rates(o);
  result.copy_rate = rates.copy_bytes_per_second;
  result.matrix_rate = rates.matrix.front().operations_per_second;
}

void Bench::run(const Settings& s, BenchResult& result) {
  const bool on_gpu = options_.device == Device::cuda;
  const int64_t warm_up = warm_up_of(s, options_.device);
  begin_work();
  if (!on_gpu) {
    run_on_cpu(warm_up, result);
    return;
  }
  rehearse(result);
  run_on_gpu(warm_up, result);
  measure_device(s, result);
}

// Two microbatches at most, so this is where backends are seen without a step of its own.
void Bench::rehearse(BenchResult& result) {
  profiler_.begin();
  engine_->rehearse();
  profiler_.end(engine_->context().stream);
  result.backends = backends_of(profiler_.lines());
}

void Bench::profile(BenchResult& result) {
  const int64_t microbatches = options_.global_batch / options_.micro_batch;
  profiler_.reserve(profiler_.calls() * microbatches + more_calls);
  profiler_.begin();
  queue(next_step_);
  profiler_.end(engine_->context().stream);
  engine_->finish_step();
  result.profile = profiler_.lines();
  result.profiled_milliseconds = profiler_.milliseconds();
  result.backends = backends_of(result.profile);
}

}  // namespace

std::vector<OptionSpec> bench_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {
      {"preset", text, group, "gpt2-124m",
       fmt::format("the model: {}", fmt::join(preset_names(), ", "))},
      {"seq-length", integer, group, "", "tokens of a sample (the preset's)"},
      {"micro-batch-size", integer, group, "4", "samples computed at once"},
      {"global-batch-size", integer, group, "", "samples of a step (one micro-batch)"},
      {"bf16", flag, group, "", "bf16 weights and activations"},
      {"fp16", flag, group, "", "fp16 with dynamic loss scale; on GPUs"},
      {"device", text, group, "", "cpu or cuda (cuda where there is a GPU)"},
      {"steps", integer, group, "5", "timed steps"},
      {"warm-up", integer, group, "", "steps before them (2; on a GPU 3)"},
      {"head-chunk-size", integer, group, "0", "token rows whose logits live at once; 0: all"},
      {"allow-tf32", flag, group, "", "fp32 products on a GPU in TF32"},
      {"no-deterministic", flag, group, "", "kernels that may give other bits each time"},
      {"attention-backend", text, group, "auto", "on a GPU: auto, own or cudnn"},
      {"cuda-graph", flag, group, "", "on a GPU: replay captured steps (off: never measured)"},
      {"no-matmul-tuning", flag, group, "", "on a GPU: no timed choice of algorithms"},
      {"tuning-folder", text, group, "", "read and write the timed choices there"},
      {"matrix-seconds", real, group, "5", "on a GPU: the matrix rate is sustained so long"},
      {"matrix-size", integer, group, "8192", "on a GPU: of the square matrices"},
      {"checkpoint", text, group, "",
       "instead, in this empty folder: save and load the state, beside raw files, --steps times"},
      {"checkpoint-ranks", integer, group, "1", "ranks, as threads, that do so"},
      {"profile", flag, group, "", "one more step, timed by operators"},
      {"json", flag, group, "", "print one JSON object"}};
}

BenchResult bench(const Settings& given) {
  check(!given.has("checkpoint-ranks"), "bench",
        "--checkpoint-ranks {} without --checkpoint; it is allowed with a folder for that",
        given.has("checkpoint-ranks") ? given.text("checkpoint-ranks") : "");
  const Settings s = with_fallbacks(bench_options(), given);
  apply_device_settings(s);
  const auto options = bench_engine(s);
  check_engine(options, {});
  check_bench(s, options.device);
  BenchResult r;
  r.steps = s.integer("steps");
  r.preset = s.text("preset");
  r.device = name_of(options.device);
  r.precision = name_of(options.dtype);
  r.deterministic = options.deterministic;
  r.cuda_graph = options.cuda_graph;
  r.parameters = options.model.parameters();
  r.sequence_length = options.sequence_length;
  r.micro_batch = options.micro_batch;
  r.global_batch = options.global_batch;
  r.threads = omp_get_max_threads();
  Bench bench(options, s);
  bench.run(s, r);
  if (s.flag("profile")) bench.profile(r);
  r.tokens_per_second =
      1e3 * static_cast<double>(options.global_batch * options.sequence_length) / r.milliseconds;
  r.flops_per_token = options.model.causal_flops_per_token(options.sequence_length);
  r.full_flops_per_token =
      r.flops_per_token +
      6.0 *
          static_cast<double>(options.model.layers * options.model.heads * options.model.head_dim) *
          static_cast<double>(options.sequence_length);
  r.flops_per_second = r.flops_per_token * r.tokens_per_second;
  r.mfu = r.flops_per_second / r.matrix_rate;
  if (options.device == Device::cpu) r.memory_bytes = memory_statistics().peak_bytes;
  return r;
}

}  // namespace switchyard
