// One micro-batch of a model forward and backward, twice with the same weights: attention as it is
// asked for, then by our own kernels. Prints one JSON object. A process for each precision, so that
// one that dies takes no other along.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/profiler.h"
#include "core/random.h"
#include "launch/engine/engine.h"
#include "model/config.h"
#include "parallel/comm/communicators.h"

namespace switchyard {
namespace {

struct Options {
  Device device = Device::cpu;
  DType dtype = DType::f32;
  std::string preset = "gpt2-124m";
  int64_t samples = 4, length = 0;  // 0: the preset's
};

EngineOptions engine_of(const Options& o) {
  EngineOptions e;
  e.model = preset(o.preset);
  e.dtype = o.dtype;
  e.device = o.device;
  e.sequence_length = o.length > 0 ? o.length : preset_sequence_length(o.preset);
  e.micro_batch = e.global_batch = o.samples;
  e.optimizer.scaling = {.dynamic = false, .initial = 1024, .least = 1, .window = 4};
  return e;
}

struct Pass {
  Engine::StepResult result;
  std::vector<float> gradients;
  std::set<std::string> attention;  // who computed it
  double milliseconds = 0;
};

std::vector<float> gradients_of(Engine& engine) {
  std::vector<float> all;
  Stream& stream = engine.context().stream;
  for (const Parameter& p : engine.model().stage().parameters()) {
    const auto begin = static_cast<std::ptrdiff_t>(all.size());
    all.resize(all.size() + static_cast<size_t>(p.gradient.elements()));
    copy_bytes(&all[static_cast<size_t>(begin)], p.gradient.data, p.gradient.bytes(), stream);
  }
  stream.synchronize();
  return all;
}

// A step whose rate is 0, so that weights stay.
Pass pass(Engine& engine, const EngineOptions& o, int64_t step) {
  const auto read = [&](int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) {
    const RandomKey key{0, 0, random_purpose("smoke")};
    for (size_t i = 0; i < tokens.size(); ++i) {
      const uint64_t at = static_cast<uint64_t>(sample) * (tokens.size() + 1) + i;
      const auto vocabulary = static_cast<uint64_t>(o.model.vocabulary);
      tokens[i] = static_cast<int32_t>(key.word(at) % vocabulary);
      targets[i] = static_cast<int32_t>(key.word(at + 1) % vocabulary);
    }
  };
  Pass p;
  Profiler profiler(o.device);
  profiler.begin();
  engine.queue_step(step, 0.0, read);
  profiler.end(engine.context().stream);
  p.result = engine.finish_step();
  p.milliseconds = profiler.milliseconds();
  for (const auto& line : profiler.lines()) {
    if (!line.operation.starts_with("attention_")) continue;
    p.attention.insert(line.note.backend.empty() ? "own kernels" : line.note.backend);
  }
  p.gradients = gradients_of(engine);
  return p;
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double square = 0, of_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    square += std::pow(double{a[i]} - double{b[i]}, 2);
    of_b += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(square / of_b);
}

void run(const Options& options) {
  const EngineOptions o = engine_of(options);
  const auto world = make_self_communicator();
  const Mesh mesh = make_mesh({}, *world);
  Engine engine(o, mesh);
  engine.initialize(o.seed);
  // fp32 is none of cuDNN's.
  const bool asked = o.device == Device::cuda && o.dtype != DType::f32;
  ops::set_attention_backend(asked ? ops::AttentionBackend::cudnn
                                   : ops::AttentionBackend::automatic);
  engine.rehearse();
  const Pass first = pass(engine, o, 1);
  ops::set_attention_backend(ops::AttentionBackend::own);
  const Pass own = pass(engine, o, 2);
  const nlohmann::ordered_json line = {
      {"precision", name_of(o.dtype)},
      {"loss", first.result.loss},
      {"ln_vocabulary", std::log(static_cast<double>(o.model.vocabulary))},
      {"grad_norm", first.result.grad_norm},
      {"attention", first.attention},
      {"gradients", first.gradients.size()},
      {"difference_of_gradients", relative_difference(first.gradients, own.gradients)},
      {"milliseconds", first.milliseconds},
      {"milliseconds_with_own_attention", own.milliseconds}};
  std::printf("%s\n", line.dump().c_str());
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--device") {
      options.device = device_named(value);
    } else if (name == "--precision") {
      options.dtype = dtype_named(value);
    } else if (name == "--preset") {
      options.preset = value;
    } else if (name == "--seq-length") {
      options.length = std::stoll(value);
    } else {
      fail("smoke", "'{}' was given; allowed: --device, --precision, --preset, --seq-length", name);
    }
  }
  return options;
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  try {
    switchyard::run(switchyard::parse(argc, argv));
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "smoke: %s\n", problem.what());
    return 1;
  }
}
