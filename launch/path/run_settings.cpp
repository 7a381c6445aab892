#include "launch/path/run_settings.h"

#include <charconv>

#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/ops/matmul/matmul_settings.h"
#include "launch/engine/world.h"

namespace switchyard {

namespace {

std::vector<int> parse_stage_layers(const Settings& run) {
  std::vector<int> layers;
  if (!run.has("pipeline-layers")) return layers;
  const std::string& text = run.text("pipeline-layers");
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int count = 0;
    const auto [stop, problem] = std::from_chars(text.data() + begin, text.data() + end, count);
    check(problem == std::errc() && stop == text.data() + end && count >= 0, "options",
          "--pipeline-layers {}; numbers of layers with commas between them are allowed", text);
    layers.push_back(count);
    begin = end + 1;
  }
  return layers;
}

ops::AttentionBackend backend_named(const std::string& name) {
  if (name == "auto") return ops::AttentionBackend::automatic;
  if (name == "own") return ops::AttentionBackend::own;
  check(name == "cudnn", "options",
        "--attention-backend {}; auto, own or cudnn is allowed: each is fused (flash) attention",
        name);
  return ops::AttentionBackend::cudnn;
}

}  // namespace

void prepare_driver(const Settings& run) {
  if (run.flag("tp-comm-overlap")) order_launches();
}

void check_run_options(const Settings& run) {
  for (const char* name :
       {"save-interval", "keep-checkpoints", "eval-interval", "head-chunk-size"}) {
    check(run.integer(name) >= 0, "options", "--{} {}; 0 or more is allowed", name, run.text(name));
  }
  check(
      !run.has("load-step") || run.integer("load-step") != 0, "options",
      "--load-step 0 is the random start, of which nothing is saved; 'fork RUN@0 NEW' makes a path "
      "that starts there anew");
  for (const char* name : {"train-iters", "load-step", "log-interval", "eval-iters"}) {
    check(!run.has(name) || run.integer(name) >= 1, "options", "--{} {}; at least 1 is allowed{}",
          name, run.has(name) ? run.text(name) : "",
          name == std::string("eval-iters") ? " (--eval-interval 0 validates nothing)" : "");
  }
  distributed_timeout(run);
}

std::chrono::minutes distributed_timeout(const Settings& run) {
  const char* name = "distributed-timeout-minutes";
  const int64_t minutes = run.has(name) ? run.integer(name) : 10;
  constexpr int64_t most = 60 * 24 * 365;
  check(minutes >= 1 && minutes <= most, "options", "--{} {}; 1 to {} is allowed", name, minutes,
        most);
  return std::chrono::minutes(minutes);
}

Device device_of(const Settings& run) {
  if (!run.has("device")) return is_available(Device::cuda) ? Device::cuda : Device::cpu;
  const Device device = device_named(run.text("device"));
  check(is_available(device), "options", "--device {}; this build and machine have: cpu",
        name_of(device));
  return device;
}

void apply_device_settings(const Settings& run) {
  ops::set_attention_backend(backend_named(run.text("attention-backend")));
  ops::set_allow_tf32(run.flag("allow-tf32"));
}

EngineOptions engine_options(const PathSpecification& path, const Settings& run, bool training) {
  EngineOptions o;
  o.model = path.model;
  o.dtype = path.dtype();
  o.sequence_length = path.sequence_length();
  o.micro_batch = run.integer("micro-batch-size");
  o.global_batch = path.global_batch();
  o.pipeline_layers = parse_stage_layers(run);
  o.seed = path.seed();
  o.training = training;
  o.device = device_of(run);
  o.head_chunk = run.integer("head-chunk-size");
  o.deterministic = !run.flag("no-deterministic");
  o.cuda_graph = training && run.flag("cuda-graph");
  if (o.cuda_graph) o.step_limit = distributed_timeout(run);
  const int64_t chunks = run.integer("tp-comm-chunks");
  check(chunks >= 1, "options", "--tp-comm-chunks {}; at least 1 is allowed", chunks);
  if (run.flag("tp-comm-overlap")) o.exchange_chunks = chunks;
  // Whatever a path was trained in, its weights are read as what the device computes with.
  if (!training && o.dtype == DType::f16 && o.device == Device::cpu) o.dtype = DType::f32;
  if (path.dtype() == DType::f16) {
    o.optimizer.scaling = {.dynamic = true,
                           .initial = static_cast<float>(path.settings.real("initial-loss-scale")),
                           .least = static_cast<float>(path.settings.real("min-loss-scale")),
                           .window = path.settings.integer("loss-scale-window"),
                           .hysteresis = path.settings.integer("hysteresis")};
  }
  o.optimizer.clip_norm = path.settings.real("clip-grad");
  auto& adam = o.optimizer.adamw;
  adam.beta1 = path.settings.real("adam-beta1");
  adam.beta2 = path.settings.real("adam-beta2");
  adam.epsilon = path.settings.real("adam-eps");
  adam.weight_decay = path.settings.real("weight-decay");
  return o;
}

}  // namespace switchyard
