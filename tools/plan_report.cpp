#include "tools/plan_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>

#include "core/json.h"
#include "core/ops/matmul/plan.h"
#include "core/ops/matmul/settings.h"
#include "model/gpt_stage.h"

namespace switchyard {

namespace {

// The rank of stage `pp` that has most to do: the first of its tensor and data groups.
Coordinates leader(int pp) { return {.tp = 0, .cp = 0, .dp = 0, .pp = pp}; }

std::vector<CountedProduct> products_of(const Planned& p, int stage) {
  const Coordinates place = leader(stage);
  const int64_t microbatches =
      share_of(p.engine.global_batch / p.engine.micro_batch, p.layout.dp, 0).end;
  return GptStage::step_products(
      p.engine.model, p.layout, place,
      stage_options(p.engine, activation_slots(p.engine, p.layout, place)), microbatches);
}

double gib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

// Of the host, for what a save copies and writes beside the steps; what does not fit is not copied.
int64_t save_copy_bytes(const MemoryPlan& memory, const SavingOptions& saving) {
  if (!saving.async) return 0;
  if (!saving.gib) return memory.saved_bytes;
  return std::min(memory.saved_bytes, static_cast<int64_t>(*saving.gib * (int64_t{1} << 30)));
}

void print_save_copy(const MemoryPlan& memory, const SavingOptions& saving) {
  const int64_t bytes = save_copy_bytes(memory, saving);
  const char* limit = saving.gib ? "--save-staging-gib" : "or a quarter of what is free there";
  if (saving.async)
    std::printf("  %10.3f GiB  of host memory besides: the copy that a save writes (%s)\n",
                gib(bytes), limit);
}

void print_memory(const MemoryPlan& memory, int stage) {
  std::printf("memory of a rank of stage %d:\n", stage);
  for (const MemoryLine& line : memory.ours) {
    std::printf("  %10.3f GiB  %s\n", gib(line.bytes), line.purpose.c_str());
  }
  for (const MemoryLine& line : memory.outside) {
    std::printf("  %10.3f GiB  %s (estimate)\n", gib(line.bytes), line.purpose.c_str());
  }
  std::printf("  %10.3f GiB  together, %.3f of it ours\n", gib(memory.all_bytes()),
              gib(memory.our_bytes()));
}

std::string describe(const CountedProduct& counted) {
  const ops::MatmulProduct& p = counted.product;
  std::string extras;
  if (p.accumulate) extras += " +=";
  if (p.bias) extras += " bias";
  if (p.gelu_input) extras += " gelu";
  if (p.gelu_gradient) extras += " gelu-gradient";
  if (p.row_sums) extras += " bias-gradient";
  return fmt::format("{:<34} {:>6} x {:>6} x {:>6} {}{} {} -> {} x {}{}", counted.name, p.m, p.n,
                     p.k, p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', name_of(p.inputs),
                     name_of(p.output), counted.times, extras);
}

// What cuBLASLt will be asked for, by the code that asks it.
ops::MatmulPlan on_gpu(const ops::MatmulProduct& p) {
  return plan_matmul(under_settings(p), ops::Fusion::full, ops::matmul_workspace_bytes);
}

// In lines that fit a terminal: breaks before the second factor and what is done behind a product.
std::string describe_on_gpu(const ops::MatmulProduct& p) {
  std::string text = "      cuBLASLt: " + on_gpu(p).to_string();
  for (const char* part : {" x B", " then "}) {
    const size_t blank = text.find(part);
    if (blank != std::string::npos) text.replace(blank, 1, "\n        ");
  }
  return text;
}

Json to_json(const CountedProduct& counted) {
  const ops::MatmulProduct& p = counted.product;
  return {{"name", counted.name},
          {"m", p.m},
          {"n", p.n},
          {"k", p.k},
          {"transpose_a", p.transpose_a},
          {"transpose_b", p.transpose_b},
          {"accumulate", p.accumulate},
          {"inputs", name_of(p.inputs)},
          {"output", name_of(p.output)},
          {"bias", p.bias},
          {"gelu_input", p.gelu_input},
          {"gelu_gradient", p.gelu_gradient},
          {"row_sums", p.row_sums},
          {"times", counted.times},
          {"cublaslt", on_gpu(p).to_string()},
          {"operations", counted.operations()}};
}

Json stage_json(const Planned& p, int stage, const MemoryPlan& memory) {
  Json all = {{"stage", stage}, {"memory", {}}, {"outside", {}}};
  for (const auto& line : memory.ours) all["memory"][line.purpose] = line.bytes;
  for (const auto& line : memory.outside) all["outside"][line.purpose] = line.bytes;
  all["memory_bytes"] = memory.our_bytes();
  all["all_bytes"] = memory.all_bytes();
  all["save_copy_bytes"] = save_copy_bytes(memory, p.saving);
  all["products"] = Json::array();
  for (const CountedProduct& product : products_of(p, stage))
    all["products"].push_back(to_json(product));
  return all;
}

}  // namespace

std::vector<MemoryPlan> memory_of_stages(const Planned& p) {
  std::vector<MemoryPlan> memory;
  memory.reserve(static_cast<size_t>(p.layout.pp));
  for (int stage = 0; stage < p.layout.pp; ++stage) {
    memory.push_back(plan_memory(p.engine, p.layout, leader(stage)));
  }
  return memory;
}

void print_plan_json(const Planned& p, const std::vector<MemoryPlan>& memory) {
  const auto& model = p.engine.model;
  Json all = {{"parameters", model.parameters()},
              {"assumed", p.assumed},
              {"layout", p.layout.to_string()},
              {"tokens_per_step", p.engine.global_batch * p.engine.sequence_length},
              {"flops_per_token_causal", model.causal_flops_per_token(p.engine.sequence_length)},
              {"stages", Json::array()}};
  for (int stage = 0; stage < p.layout.pp; ++stage) {
    all["stages"].push_back(stage_json(p, stage, memory[static_cast<size_t>(stage)]));
  }
  std::printf("%s\n", json_text(all).c_str());
}

void print_plan(const Planned& p, const std::vector<MemoryPlan>& memory, bool products) {
  const auto& o = p.engine;
  std::printf(
      "%s\n",
      fmt::format("{} parameters, {}\n{} tokens a step in {} micro-batch{}", o.model.parameters(),
                  p.layout.to_string(), o.global_batch * o.sequence_length,
                  o.global_batch / o.micro_batch, o.global_batch == o.micro_batch ? "" : "es")
          .c_str());
  for (const std::string& line : p.assumed) std::printf("assumed: %s\n", line.c_str());
  for (int stage = 0; stage < p.layout.pp; ++stage) {
    print_memory(memory[static_cast<size_t>(stage)], stage);
    print_save_copy(memory[static_cast<size_t>(stage)], p.saving);
    double operations = 0;
    const auto all = products_of(p, stage);
    for (const CountedProduct& product : all) operations += product.operations();
    std::printf("%zu matrix products, %.4g operations a step\n", all.size(), operations);
    if (!products) continue;
    for (const CountedProduct& product : all) {
      std::printf("  %s\n%s\n", describe(product).c_str(),
                  describe_on_gpu(product.product).c_str());
    }
  }
}

}  // namespace switchyard
