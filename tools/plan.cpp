#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/ops/matmul_settings.h"
#include "launch/matmul_choices.h"
#include "launch/memory_plan.h"
#include "launch/run_folder.h"
#include "launch/trainer.h"
#include "model/products.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

std::vector<OptionSpec> plan_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> own = {
      {"world-size", integer, group, "", "ranks (tp x pp)"},
      {"gpu", text, group, "", "refuse what does not fit this GPU (h100, h200, ...) or GiB"},
      {"products", flag, group, "", "list every matrix product of a step"},
      {"json", flag, group, "", "print one JSON object"}};
  return joined({model_options(), training_options(), run_options(), own});
}

struct Planned {
  PathSpecification path;
  EngineOptions engine;
  Layout layout;
};

// The path that `train` would continue or make of the same words, without ranks or memory.
PathSpecification path_of(const Command& command) {
  check(command.positional.size() <= 1, "options", "{} names were given; one RUN is allowed",
        command.positional.size());
  if (command.positional.empty()) {
    return command.given.has("data-path") ? new_path(command.given)
                                          : path_without_data(command.given);
  }
  PathSpecification path = RunFolder(command.positional[0]).read();
  check_against(path, command.given);
  return path;
}

Planned plan(const Command& command) {
  const Settings run = with_fallbacks(plan_options(), command.given);
  check_run_options(run);
  apply_device_settings(run);
  if (run.has("gpu")) gpu_bytes(run.text("gpu"));
  Planned p;
  p.path = path_of(command);
  const int64_t tp = run.integer("tensor-model-parallel-size");
  const int64_t pp = run.integer("pipeline-model-parallel-size");
  constexpr int64_t most = 1 << 20;
  check(tp >= 1 && tp <= most && pp >= 1 && pp <= most, "layout",
        "--tp {} --pp {}; 1 to {} of each is allowed", tp, pp, most);
  const int64_t world = run.has("world-size") ? run.integer("world-size") : tp * pp;
  check(world >= 1 && world <= most, "layout", "{} ranks; 1 to {} are allowed", world, most);
  p.layout = layout_of(static_cast<int>(world), tp, pp);
  // A GPU is planned for without one.
  Settings here = run;
  here.set_text("device", "cpu");
  p.engine = engine_options(p.path, here, true);
  if (!run.has("device") || device_named(run.text("device")) == Device::cuda) {
    p.engine.device = Device::cuda;
  }
  check_engine(p.engine, p.layout);
  return p;
}

// The rank of stage `pp` that has most to do: the first of its tensor and data groups.
Coordinates leader(int pp) { return {.tp = 0, .cp = 0, .dp = 0, .pp = pp}; }

std::vector<Product> products_of(const Planned& p, int stage) {
  const Coordinates place = leader(stage);
  const int64_t microbatches =
      share_of(p.engine.global_batch / p.engine.micro_batch, p.layout.dp, 0).end;
  return step_products(p.engine.model, p.layout, place,
                       stage_options(p.engine, activation_slots(p.engine, p.layout, place)),
                       microbatches);
}

void check_fits(const MemoryPlan& memory, int stage, const std::string& gpu) {
  const int64_t room = gpu_bytes(gpu);
  check(memory.all_bytes() <= room, "plan",
        "a rank of stage {} needs {} bytes ({:.1f} GiB); {} has {} ({:.1f} GiB)", stage,
        memory.all_bytes(), static_cast<double>(memory.all_bytes()) / (1 << 30), gpu, room,
        static_cast<double>(room) / (1 << 30));
}

double gib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

void print_memory(const MemoryPlan& memory, int stage) {
  std::printf("memory of a rank of stage %d:\n", stage);
  for (const MemoryLine& line : memory.ours) {
    std::printf("  %10.3f GiB  %s\n", gib(line.bytes), line.purpose.c_str());
  }
  for (const MemoryLine& line : memory.outside) {
    std::printf("  %10.3f GiB  %s, on a GPU (an estimate)\n", gib(line.bytes),
                line.purpose.c_str());
  }
  std::printf("  %10.3f GiB  together, %.3f of it ours\n", gib(memory.all_bytes()),
              gib(memory.our_bytes()));
}

std::string describe(const Product& p) {
  std::string extras;
  if (p.accumulate) extras += " +=";
  if (p.bias) extras += " bias";
  if (p.gelu_input) extras += " gelu";
  if (p.gelu_gradient) extras += " gelu-gradient";
  if (p.row_sums) extras += " bias-gradient";
  return fmt::format("{:<34} {:>6} x {:>6} x {:>6} {}{} {} -> {} x {}{}", p.name, p.m, p.n, p.k,
                     p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', name_of(p.inputs),
                     name_of(p.output), p.times, extras);
}

// What cuBLASLt will be asked for, by the code that asks it.
ops::MatmulPlan on_gpu(const Product& p) {
  return plan_matmul(as_called(p), ops::Fusion::full, ops::matmul_settings().workspace_bytes);
}

nlohmann::ordered_json to_json(const Product& p) {
  return {{"name", p.name},
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
          {"times", p.times},
          {"cublaslt", on_gpu(p).to_string()},
          {"operations", p.operations()}};
}

nlohmann::ordered_json stage_json(const Planned& p, int stage, const MemoryPlan& memory) {
  nlohmann::ordered_json all = {{"stage", stage}, {"memory", {}}, {"outside", {}}};
  for (const auto& line : memory.ours) all["memory"][line.purpose] = line.bytes;
  for (const auto& line : memory.outside) all["outside"][line.purpose] = line.bytes;
  all["memory_bytes"] = memory.our_bytes();
  all["all_bytes"] = memory.all_bytes();
  all["products"] = nlohmann::ordered_json::array();
  for (const Product& product : products_of(p, stage)) all["products"].push_back(to_json(product));
  return all;
}

void print_json(const Planned& p, const std::vector<MemoryPlan>& memory) {
  const auto& model = p.engine.model;
  nlohmann::ordered_json all = {
      {"parameters", model.parameters()},
      {"layout", p.layout.to_string()},
      {"tokens_per_step", p.engine.global_batch * p.engine.sequence_length},
      {"flops_per_token_causal", model.causal_flops_per_token(p.engine.sequence_length)},
      {"stages", nlohmann::ordered_json::array()}};
  for (int stage = 0; stage < p.layout.pp; ++stage) {
    all["stages"].push_back(stage_json(p, stage, memory[static_cast<size_t>(stage)]));
  }
  std::printf("%s\n", all.dump().c_str());
}

void print_text(const Planned& p, const std::vector<MemoryPlan>& memory, bool products) {
  const auto& o = p.engine;
  std::printf("%s\n",
              fmt::format("{} parameters, {}, {} tokens a step in {} micro-batches",
                          o.model.parameters(), p.layout.to_string(),
                          o.global_batch * o.sequence_length, o.global_batch / o.micro_batch)
                  .c_str());
  for (int stage = 0; stage < p.layout.pp; ++stage) {
    print_memory(memory[static_cast<size_t>(stage)], stage);
    double operations = 0;
    const auto all = products_of(p, stage);
    for (const Product& product : all) operations += product.operations();
    std::printf("%zu matrix products, %.4g operations a step\n", all.size(), operations);
    if (!products) continue;
    for (const Product& product : all) {
      std::printf("  %s\n      cuBLASLt: %s\n", describe(product).c_str(),
                  on_gpu(product).to_string().c_str());
    }
  }
}

}  // namespace

int plan_command(Arguments arguments) {
  const auto specs = plan_options();
  const auto command = parse_or_help(specs, arguments, "plan [RUN] [options of train]");
  if (!command) return 0;
  const Planned p = plan(*command);
  std::vector<MemoryPlan> memory;
  memory.reserve(static_cast<size_t>(p.layout.pp));
  for (int stage = 0; stage < p.layout.pp; ++stage) {
    memory.push_back(plan_memory(p.engine, p.layout, leader(stage)));
  }
  if (command->given.flag("json")) {
    print_json(p, memory);
  } else {
    print_text(p, memory, command->given.flag("products"));
  }
  for (int stage = 0; stage < p.layout.pp && command->given.has("gpu"); ++stage) {
    check_fits(memory[static_cast<size_t>(stage)], stage, command->given.text("gpu"));
  }
  return 0;
}

}  // namespace switchyard
