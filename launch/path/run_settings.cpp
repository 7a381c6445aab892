#include "launch/path/run_settings.h"

#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/ops/matmul/settings.h"
#include "core/text.h"
#include "launch/engine/world.h"

namespace switchyard {

namespace {

std::vector<int> parse_stage_layers(const Settings& run) {
  std::vector<int> layers;
  if (!run.has("pipeline-layers")) return layers;
  const std::string& text = run.text("pipeline-layers");
  for (const auto part : split_at(',', text)) {
    const auto count = parse_number<int>(part);
    check(count.value_or(-1) >= 0, "options",
          "--pipeline-layers {}; numbers of layers with commas between them are allowed", text);
    layers.push_back(*count);
  }
  return layers;
}

ops::AttentionBackend backend_named(const std::string& name) {
  if (name == "auto") return ops::AttentionBackend::automatic;
  return name == "own" ? ops::AttentionBackend::own : ops::AttentionBackend::cudnn;
}

}  // namespace

void prepare_driver(const Settings& run) {
  if (run.flag("tp-comm-overlap")) order_launches();
}

std::chrono::milliseconds distributed_timeout(const Settings& run) {
  const bool in_seconds = run.has("distributed-timeout-seconds");
  check(!in_seconds || !run.has("distributed-timeout-minutes"), "options",
        "--distributed-timeout-seconds and --distributed-timeout-minutes; one of them is allowed");
  if (in_seconds) return std::chrono::seconds(run.integer("distributed-timeout-seconds"));
  return std::chrono::minutes(
      with_fallbacks(layout_options(), run).integer("distributed-timeout-minutes"));
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
  o.pipeline_layers = parse_stage_layers(run);
  o.training = training;
  o.device = device_of(run);
  o.head_chunk = run.integer("head-chunk-size");
  o.averages_on_host = run.has("average-device") && run.text("average-device") == "host";
  o.deterministic = !run.flag("no-deterministic");
  o.cuda_graph = training && run.flag("cuda-graph");
  if (o.cuda_graph) o.step_limit = distributed_timeout(run);
  if (run.flag("tp-comm-overlap")) o.exchange_chunks = run.integer("tp-comm-chunks");
  // Whatever a path was trained in, its weights are read as what the device computes with.
  if (!training && o.dtype == DType::f16 && o.device == Device::cpu) o.dtype = DType::f32;
  if (!path.has_training_options()) return o;
  o.global_batch = path.global_batch();
  o.seed = path.seed();
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
