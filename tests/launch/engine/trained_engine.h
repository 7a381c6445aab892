#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "launch/engine/engine.h"
#include "parallel/comm/communicators.h"
#include "tests/core/ops/op_test.h"

namespace switchyard::test {

// Odd sizes: 96 tokens, 3 heads, 3 microbatches of 2 samples.
EngineOptions small(ops::test::Case on);

// Text that can be learned: each token follows from the one before, but for the samples' starts.
void read(int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets);

double rate_of(int64_t step);

// A rank, alone or one of a layout's, as `train` would have it.
struct TrainedEngine {
  explicit TrainedEngine(const EngineOptions& options)
      : TrainedEngine(options, {}, make_self_communicator()) {}
  TrainedEngine(const EngineOptions& options, const Layout& layout,
                std::shared_ptr<Communicator> ranks)
      : world(std::move(ranks)), mesh(make_mesh(layout, *world)), engine(options, mesh) {
    engine.initialize(options.seed);
  }
  Engine::StepResult step(int64_t number, const ReadSample& samples = read) {
    engine.queue_step(number, rate_of(number), samples);
    return engine.finish_step();
  }
  std::shared_ptr<Communicator> world;
  Mesh mesh;
  Engine engine;
};

void save(TrainedEngine& run, const std::filesystem::path& folder, int64_t step,
          bool counters = true);
void load(TrainedEngine& run, const std::filesystem::path& folder, int64_t step);

// What a checkpoint of it would hold, byte for byte, through a checkpoint.
using State = std::map<std::string, std::vector<char>>;
State state_in(const std::filesystem::path& folder, int64_t step);
State state_of(TrainedEngine& run);

}  // namespace switchyard::test
