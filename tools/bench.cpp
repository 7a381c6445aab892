#include "launch/bench/bench.h"
#include "core/json.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "launch/bench/checkpoint_bench.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

constexpr const char* causal = "causal: (6 N + 6 L C T) tokens / s / peak";
constexpr const char* full = "full: (6 N + 12 L C T) tokens / s / peak";

// The lines of an operator in a part of the model as one, whatever each call computed.
std::vector<Profiler::Line> by_operator(const std::vector<Profiler::Line>& profile) {
  std::vector<Profiler::Line> all;
  for (const auto& one : profile) {
    auto same = std::ranges::find_if(all, [&](const auto& line) {
      return line.part == one.part && line.operation == one.operation &&
             line.note.backend == one.note.backend;
    });
    if (same == all.end()) {
      same = all.insert(all.end(), {one.part, one.operation, {one.note.backend, "", 0}, 0, 0});
    }
    Profiler::Line& line = *same;
    line.calls += one.calls;
    line.milliseconds += one.milliseconds;
  }
  std::ranges::sort(all, std::ranges::greater(), &Profiler::Line::milliseconds);
  return all;
}

// Products one by one, with their rate.
void print_products(const BenchResult& r) {
  for (const auto& l : r.profile) {
    if (l.note.operations == 0) continue;
    std::printf("%-12s %7lld %10.3f ms %8.1f TFLOP/s  %s\n", l.part.c_str(),
                static_cast<long long>(l.calls), l.milliseconds, l.operations_per_second() / 1e12,
                l.note.detail.c_str());
  }
}

void print_profile(const BenchResult& r) {
  if (r.profile.empty()) return;
  print_products(r);
  const auto tokens = static_cast<double>(r.global_batch * r.sequence_length);
  std::printf("%-12s %-28s %-12s %7s %10s %10s %6s\n", "part", "operator", "by", "calls", "ms",
              "us/token", "share");
  const auto line = [&](const std::string& part, const std::string& name, const std::string& by,
                        int64_t calls, double ms) {
    std::printf("%-12s %-28s %-12s %7lld %10.3f %10.4f %5.1f%%\n", part.c_str(), name.c_str(),
                by.c_str(), static_cast<long long>(calls), ms, 1e3 * ms / tokens,
                100 * ms / r.profiled_milliseconds);
  };
  double sum = 0;
  for (const auto& l : by_operator(r.profile)) {
    line(l.part, l.operation, l.note.backend, l.calls, l.milliseconds);
    sum += l.milliseconds;
  }
  line("", "gaps", "", 0, r.profiled_milliseconds - sum);
  line("", "step", "", 1, r.profiled_milliseconds);
}

void print(const BenchResult& r) {
  std::printf(
      "%s on %s in %s, T %lld, micro-batch %lld, %lld samples a step, %d threads: %.1f ms, %.0f "
      "tokens/s\n",
      r.preset.c_str(), r.device.c_str(), r.precision.c_str(),
      static_cast<long long>(r.sequence_length), static_cast<long long>(r.micro_batch),
      static_cast<long long>(r.global_batch), r.threads, r.milliseconds, r.tokens_per_second);
  std::printf(
      "%.1f GFLOP/s (causal: 6 N + 6 L C T), %.1f%% of the matrix rate %.1f GFLOP/s of this run, "
      "%.0f MiB\n",
      r.flops_per_second / 1e9, 100 * r.mfu, r.matrix_rate / 1e9,
      static_cast<double>(r.memory_bytes) / (1 << 20));
  if (r.peak_flops > 0) {
    std::printf(
        "MFU of %.0f TFLOP/s (dense bf16 of H100 and H200 SXM): %.1f%% causal, %.1f%% full; copy "
        "rate %.2f TB/s; %.1f GiB of the GPU in use; %s\n",
        r.peak_flops / 1e12, 100 * r.flops_per_second / r.peak_flops,
        100 * r.full_flops_per_second() / r.peak_flops, r.copy_rate / 1e12,
        static_cast<double>(r.gpu_bytes) / (1 << 30),
        r.deterministic ? "deterministic" : "not deterministic");
  }
  for (const auto& [operation, backend] : r.backends) {
    std::printf("%s by %s\n", operation.c_str(), backend.c_str());
  }
  print_profile(r);
}

Json profile_json(const BenchResult& r) {
  Json lines = Json::array();
  for (const auto& l : r.profile) {
    lines.push_back({{"part", l.part},
                     {"operation", l.operation},
                     {"backend", l.note.backend},
                     {"calls", l.calls},
                     {"milliseconds", l.milliseconds}});
    if (l.note.operations == 0) continue;
    lines.back()["detail"] = l.note.detail;
    lines.back()["tflops"] = l.operations_per_second() / 1e12;
  }
  return lines;
}

Json to_json(const BenchResult& r) {
  Json all = {{"preset", r.preset},
              {"device", r.device},
              {"precision", r.precision},
              {"deterministic", r.deterministic},
              {"cuda_graph", r.cuda_graph},
              {"parameters", r.parameters},
              {"seq_length", r.sequence_length},
              {"micro_batch_size", r.micro_batch},
              {"global_batch_size", r.global_batch},
              {"threads", r.threads},
              {"steps", r.steps},
              {"milliseconds", r.milliseconds},
              {"all_milliseconds", r.all_milliseconds},
              {"tokens_per_second", r.tokens_per_second},
              {"mfu", r.mfu},
              {"mfu_formula", causal},
              {"flops_per_token", r.flops_per_token},
              {"full_flops_per_token", r.full_flops_per_token},
              {"gflops", r.flops_per_second / 1e9},
              {"peak_gflops", r.matrix_rate / 1e9},
              {"share_of_matrix_rate", r.mfu},
              {"memory_bytes", r.memory_bytes},
              {"allocations_after_first_step", r.allocations_after_first_step}};
  if (r.peak_flops > 0) {
    all["mfu_causal_of_989_tflops"] = r.flops_per_second / r.peak_flops;
    all["mfu_full_of_989_tflops"] = r.full_flops_per_second() / r.peak_flops;
    all["mfu_full_formula"] = full;
    all["full_share_of_matrix_rate"] = r.full_flops_per_second() / r.matrix_rate;
    all["copy_bytes_per_second"] = r.copy_rate;
    all["gpu_bytes"] = r.gpu_bytes;
    all["gpu_bytes_grown_after_second_step"] = r.gpu_bytes_grown;
  }
  for (const auto& [operation, backend] : r.backends) all["backends"][operation] = backend;
  if (!r.profile.empty()) {
    all["profile"] = profile_json(r);
    all["profiled_milliseconds"] = r.profiled_milliseconds;
  }
  return all;
}

void print(const CheckpointBench& r) {
  std::printf("state of %s in %s, %d ranks: %.3f GB; medians of %d\n", r.preset.c_str(),
              std::string(name_of(r.weights)).c_str(), r.ranks, static_cast<double>(r.bytes) / 1e9,
              r.rounds);
  for (const auto& line : r.lines) {
    std::printf("%-18s %8.3f s %6.2f GB/s %8.3f s of cores", line.name.c_str(), line.median(),
                r.bytes_per_second(line) / 1e9, line.median_of_cores());
    if (!line.yardstick.empty()) {
      std::printf("  %.2f of the faster %s", r.share(line), line.yardstick.c_str());
    }
    std::printf("\n");
  }
}

Json to_json(const CheckpointBench& r) {
  Json all = {{"preset", r.preset},
              {"weights", name_of(r.weights)},
              {"ranks", r.ranks},
              {"bytes", r.bytes},
              {"lines", Json::array()}};
  for (const auto& line : r.lines) {
    all["lines"].push_back(
        {{"name", line.name}, {"seconds", line.seconds}, {"core_seconds", line.core_seconds}});
    if (!line.yardstick.empty()) all["lines"].back()["share_of_raw"] = r.share(line);
  }
  return all;
}

// Whichever was asked for.
template <class Result>
void show(const Settings& given, const Result& result) {
  if (given.flag("json")) {
    std::printf("%s\n", json_text(to_json(result)).c_str());
  } else {
    print(result);
  }
}

}  // namespace

int bench_command(Arguments arguments) {
  const auto specs = bench_options();
  const auto command = parse_or_help(specs, arguments, "bench --preset gpt2-124m");
  if (!command) return 0;
  check(command->positional.empty(), "options", "'{}' was given; only options are allowed",
        command->positional.empty() ? "" : command->positional.front());
  if (command->given.has("checkpoint")) {
    show(command->given, bench_checkpoint(with_fallbacks(specs, command->given)));
  } else {
    show(command->given, bench(command->given));
  }
  return 0;
}

}  // namespace switchyard
