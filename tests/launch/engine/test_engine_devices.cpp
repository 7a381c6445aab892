// An engine on each device: a GPU's run is the CPU's, repeats its bits and never waits in a step.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/host_waits.h"
#include "launch/engine/load_weights.h"
#include "launch/engine/score.h"
#include "launch/path/run_settings.h"
#include "tests/launch/engine/trained_engine.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::load, test::State, test::rate_of, test::read, test::save, test::small, test::state_in,
    test::state_of, test::TrainedEngine;

class EngineOnDevice : public testing::TestWithParam<ops::test::Case> {};
INSTANTIATE_TEST_SUITE_P(All, EngineOnDevice, testing::ValuesIn(ops::test::cases()),
                         ops::test::case_name);

TEST_P(EngineOnDevice, TrainsAsTheCpuDoesInFp32) {
  TrainedEngine mine(small(GetParam()));
  TrainedEngine reference(small({Device::cpu, DType::f32}));
  const int64_t steps = GetParam().dtype == DType::f32 ? 50 : 20;
  const double bound = GetParam().dtype == DType::f32 ? 1e-4 : 2e-2;
  double first = 0, last = 0;
  for (int64_t step = 1; step <= steps; ++step) {
    const auto result = mine.step(step);
    EXPECT_FALSE(result.skipped);
    last = reference.step(step).loss;
    if (step == 1) first = last;
    ASSERT_NEAR(result.loss, last, bound * last) << "step " << step;
  }
  EXPECT_LT(last, first - 0.2);
}

TEST_P(EngineOnDevice, RepeatsItsBitsAcrossSaveAndLoad) {
  const test::TemporaryFolder folder;
  TrainedEngine whole(small(GetParam()));
  TrainedEngine begun(small(GetParam()));
  for (int64_t step = 1; step <= 3; ++step) {
    EXPECT_EQ(whole.step(step).loss, begun.step(step).loss);
  }
  save(begun, folder.path(), 3);
  auto other_seed = small(GetParam());
  other_seed.seed = 99;
  TrainedEngine resumed(other_seed);
  load(resumed, folder.path(), 3);
  for (int64_t step = 4; step <= 6; ++step) {
    const auto a = whole.step(step), b = resumed.step(step);
    EXPECT_EQ(a.loss, b.loss) << "step " << step;
    EXPECT_EQ(a.grad_norm, b.grad_norm);
    EXPECT_EQ(a.loss_scale, b.loss_scale);
    EXPECT_EQ(a.applied, b.applied);
  }
  EXPECT_TRUE(state_of(whole) == state_of(resumed));
}

TEST_P(EngineOnDevice, CheckpointsMoveBetweenDevices) {
  if (GetParam().dtype == DType::f16) GTEST_SKIP() << "the CPU does not train in fp16";
  const test::TemporaryFolder folder;
  TrainedEngine here(small(GetParam()));
  for (int64_t step = 1; step <= 2; ++step) here.step(step);
  save(here, folder.path() / "here", 2);
  TrainedEngine there(small({Device::cpu, GetParam().dtype}));
  load(there, folder.path() / "here", 2);
  EXPECT_TRUE(state_of(there) == state_in(folder.path() / "here", 2));
  there.step(3);
  save(there, folder.path() / "there", 3);
  TrainedEngine back(small(GetParam()));
  load(back, folder.path() / "there", 3);
  EXPECT_TRUE(state_of(back) == state_in(folder.path() / "there", 3));
  EXPECT_EQ(back.step(4).applied, 4);
}

// As they were written before counters were kept.
TEST_P(EngineOnDevice, ACheckpointWithoutCountersHasAppliedAllItsSteps) {
  const test::TemporaryFolder folder;
  TrainedEngine whole(small(GetParam())), resumed(small(GetParam()));
  for (int64_t step = 1; step <= 2; ++step) whole.step(step);
  save(whole, folder.path(), 2, false);
  EXPECT_FALSE(state_in(folder.path(), 2).contains(tensor_name(groups::counters)));
  load(resumed, folder.path(), 2);
  const auto a = whole.step(3), b = resumed.step(3);
  EXPECT_EQ(b.applied, 3);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(state_of(whole).at("/optimizer/exp_avg/final_norm.weight"),
            state_of(resumed).at("/optimizer/exp_avg/final_norm.weight"));
}

TEST_P(EngineOnDevice, LoadsWeightsForEvaluationInAnyPrecision) {
  const test::TemporaryFolder folder;
  TrainedEngine trained(small(GetParam()));
  trained.step(1);
  save(trained, folder.path(), 1);
  const double loss = score(trained.engine.model(), 7, read).loss_sum;
  for (const DType dtype : {GetParam().dtype, DType::f32}) {
    auto options = small({GetParam().device, dtype});
    options.training = false;
    ModelRunner model(options, trained.mesh);
    load_weights(model.stage().parameters(), CheckpointReader(checkpoint_folder(folder.path(), 1)),
                 model.context().stream);
    const Score all = score(model, 7, read);
    EXPECT_EQ(all.tokens, 7 * 12);
    EXPECT_NEAR(all.loss_sum, loss, 2e-2 * loss);
  }
}

TEST_P(EngineOnDevice, AllocatesNothingAndNeverWaitsWhileAStepIsQueued) {
  TrainedEngine run(small(GetParam()));
  run.step(1);
  run.step(2);
  const auto before = memory_statistics();
  const bool on_gpu = GetParam().device == Device::cuda;
  const int64_t free_bytes = on_gpu ? describe_gpu().free_bytes : 0;
  int64_t waits_in_steps = 0;
  for (int64_t step = 3; step <= 8; ++step) {
    const int64_t waits = host_waits();
    run.engine.queue_step(step, rate_of(step), read);
    waits_in_steps += host_waits() - waits;
    if (run.engine.unfinished_steps() == OutcomeQueue::capacity) {
      EXPECT_EQ(run.engine.finish_step().step, step - 1);
    }
  }
  EXPECT_EQ(run.engine.finish_step().step, 8);
  EXPECT_EQ(waits_in_steps, 0);
  EXPECT_EQ(memory_statistics().allocations, before.allocations);
  EXPECT_EQ(memory_statistics().bytes, before.bytes);
  if (on_gpu) {
    EXPECT_EQ(describe_gpu().free_bytes, free_bytes);
  }
}

TEST_P(EngineOnDevice, RehearsedItAllocatesNothingFromTheFirstStepOn) {
  if (GetParam().device == Device::cpu) GTEST_SKIP() << "there memory grows in the first step";
  TrainedEngine plain(small(GetParam())), rehearsed(small(GetParam()));
  rehearsed.engine.rehearse();
  const auto before = memory_statistics();
  const int64_t free_bytes = describe_gpu().free_bytes;
  std::vector<double> losses;
  for (int64_t step = 1; step <= 3; ++step) losses.push_back(rehearsed.step(step).loss);
  EXPECT_EQ(memory_statistics().allocations, before.allocations);
  EXPECT_EQ(describe_gpu().free_bytes, free_bytes);
  for (int64_t step = 1; step <= 3; ++step) EXPECT_EQ(plain.step(step).loss, losses[step - 1]);
  EXPECT_TRUE(state_of(plain) == state_of(rehearsed));
}

TEST_P(EngineOnDevice, QueuedAheadItIsTheSameRun) {
  TrainedEngine one(small(GetParam())), ahead(small(GetParam()));
  std::vector<double> losses;
  for (int64_t step = 1; step <= 5; ++step) losses.push_back(one.step(step).loss);
  ahead.engine.queue_step(1, rate_of(1), read);
  for (int64_t step = 1; step <= 5; ++step) {
    if (step < 5) ahead.engine.queue_step(step + 1, rate_of(step + 1), read);
    EXPECT_EQ(ahead.engine.finish_step().loss, losses[static_cast<size_t>(step - 1)]);
  }
}

TEST_P(EngineOnDevice, TellsAllRanksToStopAndOfFailures) {
  TrainedEngine run(small(GetParam()));
  run.engine.queue_step(1, 1e-3, read, [] { return true; });
  EXPECT_TRUE(run.engine.finish_step().stop);
  EXPECT_FALSE(run.step(2).stop);
  run.engine.queue_step(3, 1e-3, [](int64_t sample, auto tokens, auto targets) {
    if (sample == 4) throw Error("sample 4 is gone");
    read(sample, tokens, targets);
  });
  ops::test::expect_error([&] { run.engine.finish_step(); }, "sample 4 is gone");
}

TEST_P(EngineOnDevice, RefusesWhatIsNoToken) {
  TrainedEngine run(small(GetParam()));
  const auto bad = [](int64_t sample, auto tokens, auto targets) {
    read(sample, tokens, targets);
    targets[3] = 96;
  };
  ops::test::expect_error([&] { run.step(1, bad); }, "96");
}

// A weight that is not finite: in fp32 and bf16 an error that names the step.
TEST_P(EngineOnDevice, ANumberThatIsNotFiniteChangesNothing) {
  TrainedEngine run(small(GetParam()));
  run.step(1);
  const Parameter& p = run.engine.model().stage().parameters().front();
  ops::test::stream_at_work = &run.engine.context().stream;
  auto weights = ops::test::values(p.weight);
  weights[0] = std::numeric_limits<double>::infinity();
  ops::test::assign(p.weight, weights);
  const State before = state_of(run);
  const auto first_row = [](int64_t, auto tokens, auto targets) {
    std::ranges::fill(tokens, 0);
    std::ranges::fill(targets, 0);
  };
  if (GetParam().dtype == DType::f16) {
    EXPECT_TRUE(run.step(2, first_row).skipped);
  } else {
    ops::test::expect_error([&] { run.step(2, first_row); }, "of step 2");
  }
  State after = state_of(run);
  for (const auto& [name, bytes] : before) {
    if (name == tensor_name(groups::counters)) continue;
    EXPECT_TRUE(after[name] == bytes) << name;
  }
}

TEST_P(EngineOnDevice, Fp16IsForGpus) {
  auto options = small({Device::cpu, DType::f16});
  ops::test::expect_error([&] { check_engine(options, {}); }, "fp16 on 'cpu'");
}

// 2^32 is far too much for fp16: it is halved until gradients fit, then the run learns.
TEST_P(EngineOnDevice, AnOverflowIsSkippedAndTheScaleHalved) {
  if (GetParam().dtype != DType::f16) GTEST_SKIP() << "there is no loss scale";
  auto options = small(GetParam());
  options.optimizer.scaling = {.dynamic = true, .initial = 0x1p32f, .least = 1, .hysteresis = 2};
  TrainedEngine run(options);
  const State before = state_of(run);
  auto result = run.step(1);
  EXPECT_TRUE(result.skipped);
  EXPECT_EQ(result.loss_scale, 0x1p32);
  EXPECT_NEAR(result.loss, std::log(96.0), 0.5);
  EXPECT_TRUE(state_of(run).at("/model/layers.0.attention.q.weight") ==
              before.at("/model/layers.0.attention.q.weight"));
  EXPECT_EQ(run.step(2).loss_scale, 0x1p32);  // the second overflow halves
  int64_t step = 3;
  for (double expected = 0x1p31; (result = run.step(step)).skipped; ++step, expected /= 2) {
    ASSERT_EQ(result.loss_scale, expected);
    ASSERT_LT(step, 40);
  }
  EXPECT_EQ(result.applied, 1);
  const double first = result.loss;
  for (const int64_t end = step + 20; step < end; ++step) result = run.step(step);
  EXPECT_LT(result.loss, first);
  EXPECT_TRUE(std::isfinite(result.grad_norm));
}

}  // namespace
}  // namespace switchyard
