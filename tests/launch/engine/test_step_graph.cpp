// Steps captured as CUDA graphs: their bits, failures and limits are those of ordinary steps.
#include <gtest/gtest.h>

#include <bit>
#include <chrono>

#include "core/graph.h"
#include "core/host_waits.h"
#include "launch/engine/score.h"
#include "tests/launch/engine/trained_engine.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::load, test::rate_of, test::read, test::save, test::small, test::state_of,
    test::TrainedEngine;

EngineOptions with_graph(EngineOptions options) {
  options.cuda_graph = true;
  return options;
}

// Bit for bit, as a gradient norm may be no number.
void expect_same(const Engine::StepResult& a, const Engine::StepResult& b) {
  const auto bits = [](const Engine::StepResult& r) {
    const auto of = [](double value) { return std::bit_cast<int64_t>(value); };
    return std::vector<int64_t>{r.step,    of(r.loss), of(r.grad_norm), of(r.loss_scale),
                                r.skipped, r.applied,  r.stop};
  };
  EXPECT_EQ(bits(a), bits(b)) << "step " << a.step << ", loss " << a.loss << " and " << b.loss;
}

// Other samples and rates each step, and dropout that follows the step.
struct WithAndWithoutGraph {
  explicit WithAndWithoutGraph(const EngineOptions& options)
      : plain(options), replayed(with_graph(options)) {}
  void step(int64_t number) {
    const auto samples = [&](int64_t sample, auto tokens, auto targets) {
      read(number * 6 + sample, tokens, targets);
    };
    const auto stops = [&] { return number == 5; };
    for (TrainedEngine* each : {&plain, &replayed}) {
      each->engine.queue_step(number, rate_of(number), samples, stops);
    }
    last = plain.engine.finish_step();
    expect_same(last, replayed.engine.finish_step());
  }
  TrainedEngine plain, replayed;
  Engine::StepResult last;
};

class StepGraphOnDevice : public testing::TestWithParam<ops::test::Case> {};
INSTANTIATE_TEST_SUITE_P(All, StepGraphOnDevice, testing::ValuesIn(ops::test::cases()),
                         ops::test::case_name);

TEST_P(StepGraphOnDevice, IsRefusedWhereItCannotBe) {
  const auto options = with_graph(small(GetParam()));
  if (GetParam().device == Device::cpu) {
    ops::test::expect_error([&] { check_engine(options, {}); }, "--cuda-graph on 'cpu'");
    return;
  }
  check_engine(options, {});
  Layout two;
  two.dp = 2;
  ops::test::expect_error([&] { check_engine(options, two); }, "--cuda-graph with 2 ranks; 1 is");
}

TEST_P(StepGraphOnDevice, WhatCannotBeRecordedLeavesTheStreamAsItWas) {
  Stream stream(GetParam().device);
  Graph graph;
  if (GetParam().device == Device::cpu) {
    ops::test::expect_error([&] { graph.record(stream, [] {}); }, "a stream of 'cpu'");
    return;
  }
  Memory memory(sizeof(double), Device::cuda, "number");
  const double numbers[] = {1, 2};
  const auto copy = [&](void* to, const void* from) {
    copy_bytes(to, from, sizeof(double), stream);
  };
  Arena pinned = Arena::pinned("number", 64);
  auto* number = pinned.allocate({1}, DType::f64, "number").as<double>();
  const auto fails = [&] {
    copy(memory.data(), number);
    throw Error("no more");
  };
  ops::test::expect_error([&] { graph.record(stream, fails); }, "no more");
  EXPECT_FALSE(graph.is_recorded());
  ops::test::expect_error([&] { graph.launch(stream); }, "nothing is recorded");
  copy(memory.data(), &numbers[0]);
  *number = numbers[1];
  graph.record(stream, [&] { copy(memory.data(), number); });
  EXPECT_EQ(graph.nodes(), 1);
  double before = 0, behind = 0;
  copy(&before, memory.data());
  graph.launch(stream);
  copy(&behind, memory.data());
  stream.synchronize();
  EXPECT_EQ(before, numbers[0]);
  EXPECT_EQ(behind, numbers[1]);
}

TEST_P(StepGraphOnDevice, ItsBitsAreThoseOfOrdinarySteps) {
  if (GetParam().device == Device::cpu) GTEST_SKIP() << "there are no graphs";
  auto options = small(GetParam());
  options.model.hidden_dropout = 0.2;
  options.model.attention_dropout = 0.1;
  WithAndWithoutGraph both(options);
  for (int64_t step = 1; step <= 7; ++step) both.step(step);
  EXPECT_EQ(both.plain.engine.captured_steps(), 0);
  EXPECT_GE(both.replayed.engine.captured_steps(), 1);
  EXPECT_TRUE(state_of(both.plain) == state_of(both.replayed));
  // A validation allocates, and the steps behind it go on.
  EXPECT_EQ(score(both.plain.engine.model(), 7, read).loss_sum,
            score(both.replayed.engine.model(), 7, read).loss_sum);
  for (int64_t step = 8; step <= 9; ++step) both.step(step);
  EXPECT_TRUE(state_of(both.plain) == state_of(both.replayed));
}

TEST_P(StepGraphOnDevice, AStepIsCapturedOnceAndQueuedWithoutWaiting) {
  if (GetParam().device == Device::cpu) GTEST_SKIP() << "there are no graphs";
  TrainedEngine run(with_graph(small(GetParam())));
  for (int64_t step = 1; step <= 3; ++step) run.step(step);
  EXPECT_EQ(run.engine.captured_steps(), 1);
  const int64_t allocations = memory_statistics().allocations;
  int64_t waits_in_steps = 0;
  for (int64_t step = 4; step <= 7; ++step) {
    const int64_t waits = host_waits();
    run.engine.queue_step(step, rate_of(step), read);
    waits_in_steps += host_waits() - waits;
    if (run.engine.unfinished_steps() == OutcomeQueue::capacity) run.engine.finish_step();
  }
  EXPECT_EQ(run.engine.finish_step().step, 7);
  EXPECT_EQ(run.engine.captured_steps(), 1);
  EXPECT_EQ(waits_in_steps, 0);
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

TEST_P(StepGraphOnDevice, ResumesWithTheSameBits) {
  if (GetParam().device == Device::cpu) GTEST_SKIP() << "there are no graphs";
  const test::TemporaryFolder folder;
  auto options = small(GetParam());
  options.model.hidden_dropout = 0.1;
  TrainedEngine whole(options), begun(with_graph(options)), resumed(with_graph(options));
  for (int64_t step = 1; step <= 4; ++step) expect_same(whole.step(step), begun.step(step));
  save(begun, folder.path(), 4);
  load(resumed, folder.path(), 4);
  for (int64_t step = 5; step <= 8; ++step) expect_same(whole.step(step), resumed.step(step));
  EXPECT_GE(resumed.engine.captured_steps(), 1);
  EXPECT_TRUE(state_of(whole) == state_of(resumed));
}

// Overflows while steps are ordinary, captured and replayed, and the scale found at last.
TEST_P(StepGraphOnDevice, SkipsTheSameSteps) {
  if (GetParam().dtype != DType::f16) GTEST_SKIP() << "there is no loss scale";
  auto options = small(GetParam());
  options.optimizer.scaling = {.dynamic = true, .initial = 0x1p32f, .least = 1, .hysteresis = 1};
  WithAndWithoutGraph both(options);
  int64_t step = 1, skipped = 0;
  for (both.step(step); both.last.applied < 3; both.step(++step)) {
    if (both.last.skipped) ++skipped;
    ASSERT_LT(step, 40);
  }
  EXPECT_GT(skipped, 4);
  EXPECT_TRUE(state_of(both.plain) == state_of(both.replayed));
}

TEST_P(StepGraphOnDevice, FailuresAreTold) {
  if (GetParam().device == Device::cpu) GTEST_SKIP() << "there are no graphs";
  TrainedEngine run(with_graph(small(GetParam())));
  for (int64_t step = 1; step <= 4; ++step) run.step(step);
  run.engine.queue_step(5, 1e-3, [](int64_t sample, auto tokens, auto targets) {
    if (sample == 4) throw Error("sample 4 is gone");
    read(sample, tokens, targets);
  });
  ops::test::expect_error([&] { run.engine.finish_step(); }, "sample 4 is gone");
}

// A fast device may end the step within this shortest limit.
TEST_P(StepGraphOnDevice, AStepThatTakesTooLongIsNamed) {
  if (GetParam().device == Device::cpu) GTEST_SKIP() << "there are no graphs";
  auto options = with_graph(small(GetParam()));
  options.step_limit = std::chrono::milliseconds(1);
  TrainedEngine run(options);
  const auto step_in_time = [&](int64_t number) {
    run.engine.queue_step(number, 1e-3, read);
    run.engine.context().stream.synchronize();
    EXPECT_EQ(run.engine.finish_step().step, number);
  };
  for (int64_t step = 1; step <= 4; ++step) step_in_time(step);
  run.engine.queue_step(5, 1e-3, read);
  try {
    run.engine.finish_step();
    GTEST_SKIP() << "the step ended in time";
  } catch (const OverdueStep& late) {
    EXPECT_NE(std::string(late.what()).find("step 5 did not end within 1 ms"), std::string::npos);
  }
}

}  // namespace
}  // namespace switchyard
