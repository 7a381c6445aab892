#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <random>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/scratch_pool.h"
#include "parallel/pipeline/executor.h"
#include "tests/parallel/comm/recording_communicator.h"
#include "tests/parallel/pipeline/peak_live.h"

namespace switchyard {
namespace {

using test::peak_live;
using Values = std::vector<float>;

struct Case {
  int stages = 1;
  int microbatches = 1;
  int64_t rows = 1;
  int64_t hidden = 1;
  DType dtype = DType::f32;
  Shape shape() const { return {rows, hidden}; }
  size_t elements() const { return static_cast<size_t>(rows * hidden); }
};

float rounded(float value, DType dtype) {
  return dtype == DType::f32 ? value : static_cast<float>(bf16(value));
}

Values read(const Tensor& tensor) {
  Values values(static_cast<size_t>(tensor.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = tensor.dtype == DType::f32 ? tensor.as<float>()[i]
                                           : static_cast<float>(tensor.as<bf16>()[i]);
  }
  return values;
}

void write(const Tensor& tensor, const Values& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (tensor.dtype == DType::f32) {
      tensor.as<float>()[i] = values[i];
    } else {
      tensor.as<bf16>()[i] = bf16(values[i]);
    }
  }
}

void scribble(const Tensor& tensor) {
  write(tensor,
        Values(static_cast<size_t>(tensor.elements()), std::numeric_limits<float>::quiet_NaN()));
}

Values data_of(const Case& c, int microbatch, int salt) {
  Values values(c.elements());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = rounded(std::sin(static_cast<float>(i) + 10.0f * static_cast<float>(microbatch) +
                                 static_cast<float>(salt)),
                        c.dtype);
  }
  return values;
}

// One stage of a model: y = scale * x + x^2 / 4 for each element, with one weight, the scale. The
// loss behind the last stage is sum (y - target)^2 / 2.
struct Stage {
  Case shape;
  int index = 0;
  double gradient = 0;  // of the scale
  float scale() const { return 0.5f + 0.125f * static_cast<float>(index); }

  Values forward(const Values& x) const {
    Values y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] = rounded(scale() * x[i] + 0.25f * x[i] * x[i], shape.dtype);
    }
    return y;
  }
  Values loss_gradient(const Values& y, int microbatch) const {
    Values dy = data_of(shape, microbatch, 1000);
    for (size_t i = 0; i < y.size(); ++i) dy[i] = rounded(y[i] - dy[i], shape.dtype);
    return dy;
  }
  Values backward(const Values& x, const Values& dy) {
    Values dx(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      gradient += static_cast<double>(dy[i]) * static_cast<double>(x[i]);
      dx[i] = rounded(dy[i] * (scale() + 0.5f * x[i]), shape.dtype);
    }
    return dx;
  }
};

struct Outcome {
  std::vector<double> gradients;          // of each stage
  std::map<int, Values> outputs;          // of the last stage, by microbatch
  std::map<int, Values> input_gradients;  // of the first stage, by microbatch
  bool operator==(const Outcome&) const = default;
};

Outcome run_serially(const Case& c, int times) {
  Outcome outcome;
  std::vector<Stage> stages;
  for (int s = 0; s < c.stages; ++s) stages.push_back({.shape = c, .index = s});
  for (int m = 0; m < times * c.microbatches; ++m) {
    const int microbatch = m % c.microbatches;
    std::vector<Values> inputs = {data_of(c, microbatch, 0)};
    for (Stage& stage : stages) inputs.push_back(stage.forward(inputs.back()));
    Values dy = stages.back().loss_gradient(inputs.back(), microbatch);
    outcome.outputs[microbatch] = inputs.back();
    for (size_t s = stages.size(); s-- > 0;) dy = stages[s].backward(inputs[s], dy);
    outcome.input_gradients[microbatch] = dy;
  }
  for (const Stage& stage : stages) outcome.gradients.push_back(stage.gradient);
  return outcome;
}

// Computes a stage from the executor's buffers alone and checks what the executor promises.
class StageWorker : public PipelineWorker {
 public:
  StageWorker(const Case& c, int stage, int slots)
      : case_(c), stage_{.shape = c, .index = stage}, seen_(static_cast<size_t>(slots)) {}

  void forward(const Place& place, const Tensor& input, const Tensor& output) override {
    EXPECT_EQ(static_cast<bool>(input), stage_.index > 0);
    EXPECT_EQ(static_cast<bool>(output), stage_.index + 1 < case_.stages);
    EXPECT_EQ(place.last_microbatch, place.microbatch == case_.microbatches - 1);
    const Values x = input ? read(input) : data_of(case_, place.microbatch, 0);
    const Values y = stage_.forward(x);
    Seen& seen = seen_.at(static_cast<size_t>(place.slot));
    EXPECT_FALSE(seen.lives) << "slot " << place.slot << " is in use";
    seen = {.lives = training, .microbatch = place.microbatch, .input = x, .output = y};
    if (output) {
      scribble(output);
      write(output, y);
    } else {
      outputs[place.microbatch] = y;
    }
  }

  void backward(const Place& place, const Tensor& input, const Tensor& output_gradient,
                const Tensor& input_gradient) override {
    EXPECT_EQ(static_cast<bool>(output_gradient), stage_.index + 1 < case_.stages);
    EXPECT_EQ(static_cast<bool>(input_gradient), stage_.index > 0);
    EXPECT_EQ(place.last_microbatch, place.microbatch == case_.microbatches - 1);
    Seen& seen = seen_.at(static_cast<size_t>(place.slot));
    EXPECT_TRUE(seen.lives);
    EXPECT_EQ(seen.microbatch, place.microbatch);
    EXPECT_EQ(input ? read(input) : seen.input, seen.input) << "changed since forward";
    const Values dy = output_gradient ? read(output_gradient)
                                      : stage_.loss_gradient(seen.output, place.microbatch);
    const Values dx = stage_.backward(seen.input, dy);
    if (input_gradient) {
      scribble(input_gradient);
      write(input_gradient, dx);
    } else {
      input_gradients[place.microbatch] = dx;
    }
    // From here on nobody may read these two.
    if (input) scribble(input);
    if (output_gradient) scribble(output_gradient);
    seen.lives = false;
  }

  double gradient() const { return stage_.gradient; }

  bool training = true;
  std::map<int, Values> outputs, input_gradients;

 private:
  struct Seen {
    bool lives = false;
    int microbatch = 0;
    Values input, output;
  };
  Case case_;
  Stage stage_;
  std::vector<Seen> seen_;  // by slot
};

ThreadRanksOptions delayed(uint64_t seed) {
  ThreadRanksOptions options;
  options.delay_and_poison = true;
  options.seed = seed;
  return options;
}

// Two training runs with an evaluation between them, on the same executor.
Outcome run_as_pipeline(const Case& c, const ThreadRanksOptions& options) {
  Outcome outcome;
  outcome.gradients.resize(static_cast<size_t>(c.stages));
  std::mutex mutex;
  run_thread_ranks(c.stages, options, [&](Communicator& world) {
    const Mesh mesh = make_mesh({.pp = c.stages}, world);
    Stream stream;
    const int stage = world.rank();
    const auto train = schedule_1f1b(c.stages, c.microbatches, stage);
    const auto evaluate = schedule_forward_only(c.stages, c.microbatches, stage);
    PipelineExecutor executor(mesh, c.shape(), c.dtype, peak_live(train), stream);
    StageWorker worker(c, stage, executor.slots());
    executor.run(train, worker);
    worker.training = false;
    executor.run(evaluate, worker);
    worker.training = true;
    executor.run(train, worker);
    const std::lock_guard lock(mutex);
    outcome.gradients[static_cast<size_t>(stage)] = worker.gradient();
    if (mesh.last_stage()) outcome.outputs = worker.outputs;
    if (mesh.first_stage()) outcome.input_gradients = worker.input_gradients;
  });
  return outcome;
}

TEST(PipelineExecutor, EqualsASerialRunBitForBit) {
  std::mt19937 random(7);
  const auto between = [&](int low, int high) {
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  for (int i = 0; i < 220; ++i) {
    const Case c{.stages = between(1, 6),
                 .microbatches = between(1, 12),
                 .rows = between(1, 9),
                 .hidden = between(1, 33),
                 .dtype = i % 3 == 0 ? DType::bf16 : DType::f32};
    SCOPED_TRACE(fmt::format("case {}: {} stages, {} microbatches, {} x {} {}", i, c.stages,
                             c.microbatches, c.rows, c.hidden, name_of(c.dtype)));
    ASSERT_EQ(run_as_pipeline(c, delayed(static_cast<uint64_t>(i))), run_serially(c, 2));
  }
}

TEST(PipelineExecutor, EqualsASerialRunWithoutDelays) {
  for (int stages = 1; stages <= 4; ++stages) {
    const Case c{.stages = stages, .microbatches = 9, .rows = 16, .hidden = 64};
    EXPECT_EQ(run_as_pipeline(c, {}), run_serially(c, 2));
  }
}

// While the last stage computes its first microbatch, the next one can already arrive.
TEST(PipelineExecutor, PostsReceivesAheadOfTheComputation) {
  const Case c{.stages = 2, .microbatches = 4, .rows = 2, .hidden = 3};
  struct Watcher : StageWorker {
    Watcher(const Case& shape, int stage, int slots, const RecordingCommunicator::Counts& seen)
        : StageWorker(shape, stage, slots), counts(seen) {}
    void forward(const Place& place, const Tensor& input, const Tensor& output) override {
      posted.push_back(counts.receives);
      StageWorker::forward(place, input, output);
    }
    const RecordingCommunicator::Counts& counts;
    std::vector<int> posted;
  };
  run_thread_ranks(c.stages, {}, [&](Communicator& world) {
    Mesh mesh = make_mesh({.pp = c.stages}, world);
    RecordingCommunicator::Counts counts;
    mesh.pp = std::make_unique<RecordingCommunicator>(std::move(mesh.pp), counts);
    Stream stream;
    const auto actions = schedule_1f1b(c.stages, c.microbatches, world.rank());
    PipelineExecutor executor(mesh, c.shape(), c.dtype, peak_live(actions), stream);
    Watcher worker(c, world.rank(), executor.slots(), counts);
    executor.run(actions, worker);
    if (mesh.first_stage()) return;
    EXPECT_THAT(worker.posted, testing::ElementsAre(2, 3, 4, 4));
  });
}

// The blocks that thread ranks' exchanges borrow are the communicator's.
int64_t own_allocations() { return memory_statistics().allocations - ScratchPool::allocations(); }

TEST(PipelineExecutor, AllocatesNoTensorMemoryInRun) {
  const Case c{.stages = 3, .microbatches = 8, .rows = 4, .hidden = 8};
  run_thread_ranks(c.stages, {}, [&](Communicator& world) {
    const Mesh mesh = make_mesh({.pp = c.stages}, world);
    Stream stream;
    const auto actions = schedule_1f1b(c.stages, c.microbatches, world.rank());
    PipelineExecutor executor(mesh, c.shape(), c.dtype, peak_live(actions), stream);
    StageWorker worker(c, world.rank(), executor.slots());
    world.barrier({"allocations"});
    const int64_t before = own_allocations();
    world.barrier({"all have counted"});  // the two counts of a block do not change at once
    executor.run(actions, worker);
    world.barrier({"allocations"});
    EXPECT_EQ(own_allocations(), before);
  });
}

TEST(PipelineExecutor, StatesItsMemory) {
  const Case c{.stages = 3, .rows = 4, .hidden = 8};
  run_thread_ranks(c.stages, {}, [&](Communicator& world) {
    const Mesh mesh = make_mesh({.pp = c.stages}, world);
    Stream stream;
    EXPECT_NO_THROW(PipelineExecutor(mesh, c.shape(), c.dtype, 3, stream));
  });
  const auto bytes = [&](bool first, bool last) {
    return PipelineExecutor::bytes_needed(c.shape(), c.dtype, 3, first, last);
  };
  const int64_t message = Arena::footprint(c.shape(), c.dtype);
  EXPECT_EQ(bytes(true, true), 0);
  EXPECT_EQ(bytes(false, false), 10 * message);
  EXPECT_EQ(bytes(true, false) + bytes(false, true), bytes(false, false));
}

// Runs a list on a world of one with two slots; returns the error's text.
std::string error_of(const std::vector<Action>& actions) {
  const Case c{};
  std::string text;
  run_thread_ranks(1, {}, [&](Communicator& world) {
    const Mesh mesh = make_mesh({}, world);
    Stream stream;
    PipelineExecutor executor(mesh, c.shape(), c.dtype, 2, stream);
    struct : PipelineWorker {
      void forward(const Place&, const Tensor&, const Tensor&) override {}
      void backward(const Place&, const Tensor&, const Tensor&, const Tensor&) override {}
    } worker;
    try {
      executor.run(actions, worker);
    } catch (const Error& e) {
      text = e.what();
    }
  });
  return text;
}

TEST(PipelineExecutor, RefusesAMessageThatNobodyUses) {
  const Case c{.stages = 2};
  const auto run = [&](Communicator& world) {
    const Mesh mesh = make_mesh({.pp = c.stages}, world);
    Stream stream;
    auto actions = schedule_forward_only(c.stages, 2, world.rank());
    if (mesh.last_stage()) actions.pop_back();  // the second forward
    PipelineExecutor executor(mesh, c.shape(), c.dtype, 1, stream);
    StageWorker worker({.stages = 2, .microbatches = mesh.last_stage() ? 1 : 2}, world.rank(), 1);
    worker.training = false;
    executor.run(actions, worker);
  };
  try {
    run_thread_ranks(c.stages, {}, run);
    FAIL() << "the second message was received for nothing";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("never computed"));
  }
}

TEST(PipelineExecutor, NamesWhatCannotBeRun) {
  using enum ActionKind;
  using testing::HasSubstr;
  EXPECT_EQ(error_of({{forward, 0, 0}, {backward, 0, 0}}), "");
  EXPECT_THAT(error_of({{receive_forward, 0, 0}, {forward, 0, 0}}), HasSubstr("from no stage"));
  EXPECT_THAT(error_of({{forward, 0, 0}, {send_forward, 0, 0}}), HasSubstr("for no stage"));
  EXPECT_THAT(error_of({{backward, 0, 0}, {forward, 0, 0}}), HasSubstr("before its forward"));
  EXPECT_THAT(error_of({{forward, 1, 0}}), HasSubstr("chunk 0 alone"));
  EXPECT_THAT(error_of({{forward, 0, 0}, {backward_input, 0, 0}}), HasSubstr("undivided"));
  EXPECT_THAT(error_of({{forward, 0, 0},
                        {forward, 0, 1},
                        {forward, 0, 2},
                        {backward, 0, 0},
                        {backward, 0, 1},
                        {backward, 0, 2}}),
              HasSubstr("2 slots"));
}

}  // namespace
}  // namespace switchyard
