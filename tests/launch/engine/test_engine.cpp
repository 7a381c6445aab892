#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "core/error.h"
#include "launch/engine/engine.h"
#include "launch/engine/score.h"
#include "launch/engine/world.h"
#include "launch/path/run_settings.h"
#include "parallel/comm/communicators.h"

namespace switchyard {
namespace {

TEST(Share, DealsMicrobatchesWithCountsDifferingByOne) {
  for (int64_t count = 1; count <= 20; ++count) {
    for (int parts = 1; parts <= count; ++parts) {
      int64_t next = 0;
      for (int part = 0; part < parts; ++part) {
        const auto share = share_of(count, parts, part);
        EXPECT_EQ(share.begin, next);
        EXPECT_GE(share.end - share.begin, count / parts);
        EXPECT_LE(share.end - share.begin, count / parts + 1);
        next = share.end;
      }
      EXPECT_EQ(next, count);
    }
  }
}

TEST(LayoutOf, DividesTheWorld) {
  EXPECT_EQ(layout_of(8, 2, 2).dp, 2);
  EXPECT_THROW(layout_of(6, 4, 1), Error);
  EXPECT_THROW(layout_of(4, 0, 1), Error);
}

EngineOptions small() {
  EngineOptions o;
  o.model = preset("gpt2-tiny");
  o.sequence_length = 16;
  o.micro_batch = 1;
  o.global_batch = 4;
  return o;
}

void fill(int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<int32_t>((static_cast<size_t>(sample) * 7 + i * 3) % 257);
    targets[i] = static_cast<int32_t>((static_cast<size_t>(sample) * 7 + i * 3 + 3) % 257);
  }
}

Engine::StepResult train_step(Engine& engine, int64_t step, const ReadSample& read) {
  engine.queue_step(step, 1e-3, read);
  return engine.finish_step();
}

TEST(Engine, AllocatesNothingAfterTheFirstStep) {
  const auto world = make_self_communicator();
  const Mesh mesh = make_mesh({}, *world);
  Engine engine(small(), mesh);
  engine.initialize(small().seed);
  train_step(engine, 1, fill);
  const auto first = memory_statistics();
  for (int step = 2; step < 5; ++step) train_step(engine, step, fill);
  EXPECT_EQ(memory_statistics().allocations, first.allocations);
  EXPECT_EQ(memory_statistics().bytes, first.bytes);
}

TEST(Engine, MoreRanksThanMicrobatchesAreRefused) {
  Layout layout;
  layout.dp = 5;
  EXPECT_THROW(check_engine(small(), layout), Error);
  auto odd = small();
  odd.micro_batch = 3;
  EXPECT_THROW(check_engine(odd, {}), Error);
}

TEST(Engine, ANonFiniteLossNamesTheStep) {
  const auto world = make_self_communicator();
  const Mesh mesh = make_mesh({}, *world);
  Engine engine(small(), mesh);
  engine.initialize(small().seed);
  engine.model().stage().parameters().front().weight.as<float>()[0] =
      std::numeric_limits<float>::infinity();
  try {
    train_step(engine, 17, [](int64_t, auto tokens, auto targets) {
      std::ranges::fill(tokens, 0);
      std::ranges::fill(targets, 0);
    });
    FAIL() << "the step went through";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("step 17"));
  }
}

TEST(Score, IsTheSameHoweverSamplesAreCut) {
  const auto world = make_self_communicator();
  const Mesh mesh = make_mesh({}, *world);
  auto one = small();
  auto three = small();
  three.micro_batch = 3;
  three.training = false;
  Engine training(one, mesh);
  ModelRunner evaluation(three, mesh);
  training.initialize(small().seed);
  evaluation.stage().initialize(small().seed);
  const Score x = score(training.model(), 7, fill);
  const Score y = score(evaluation, 7, fill);
  EXPECT_EQ(x.tokens, 7 * 16);
  EXPECT_EQ(y.tokens, x.tokens);
  EXPECT_NEAR(x.loss_sum, y.loss_sum, 1e-5 * x.loss_sum);
}

// The first stage embeds tokens, the last one is held against targets.
TEST(Engine, OnlyFirstAndLastStageReadTokens) {
  std::array<std::atomic<int>, 3> reads{};
  run_thread_ranks(3, {}, [&](Communicator& world) {
    auto options = small();
    options.model.layers = 3;
    Layout layout;
    layout.pp = 3;
    const Mesh mesh = make_mesh(layout, world);
    Engine engine(options, mesh);
    engine.initialize(options.seed);
    const auto read = [&](int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) {
      ++reads[static_cast<size_t>(mesh.place.pp)];
      fill(sample, tokens, targets);
    };
    train_step(engine, 1, read);
    score(engine.model(), 3, read);
  });
  const int all = static_cast<int>(small().global_batch) + 3;
  EXPECT_EQ(reads[0], all);
  EXPECT_EQ(reads[1], 0);
  EXPECT_EQ(reads[2], all);
}

// One connection to the device keeps gathered weights and the next forward from overlapping.
TEST(PrepareDriver, OrdersLaunchesForChunkedExchangesAlone) {
  const char* name = "CUDA_DEVICE_MAX_CONNECTIONS";
  unsetenv(name);
  Settings run;
  prepare_driver(run);
  EXPECT_EQ(std::getenv(name), nullptr);
  run.set_text("tp-comm-overlap", "true");
  prepare_driver(run);
  EXPECT_STREQ(std::getenv(name), "1");
  setenv(name, "8", 1);
  prepare_driver(run);
  EXPECT_STREQ(std::getenv(name), "8");
  unsetenv(name);
}

}  // namespace
}  // namespace switchyard
