#include "launch/engine/memory_plan.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/memory.h"
#include "launch/engine/engine.h"
#include "launch/engine/gpu_models.h"
#include "parallel/comm/communicators.h"

namespace switchyard {
namespace {

EngineOptions engine(const char* model, DType dtype) {
  EngineOptions o;
  o.model = preset(model);
  o.dtype = dtype;
  o.sequence_length = 64;
  o.micro_batch = 2;
  o.global_batch = 8;
  return o;
}

// What an engine takes when it is made, whatever its layout, is what was planned.
TEST(MemoryPlan, IsWhatAnEngineAllocates) {
  for (const char* model : {"gpt2-tiny", "llama-tiny", "pythia-tiny"}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const EngineOptions o = engine(model, dtype);
      const auto world = make_self_communicator();
      const Mesh mesh = make_mesh({}, *world);
      const int64_t before = memory_statistics().bytes;
      const Engine made(o, mesh);
      const int64_t taken = memory_statistics().bytes - before;
      const int64_t planned = plan_memory(o, {}, {}).our_bytes();
      // Positions and the like are not planned: less than a hundredth of a real model.
      EXPECT_GE(taken, planned) << model;
      EXPECT_LE(static_cast<double>(taken), static_cast<double>(planned) + 1e5) << model;
    }
  }
}

TEST(MemoryPlan, WithoutTrainingItIsWhatAnEvaluationAllocates) {
  EngineOptions o = engine("gpt2-tiny", DType::f32);
  o.training = false;
  const auto world = make_self_communicator();
  const Mesh mesh = make_mesh({}, *world);
  const int64_t before = memory_statistics().bytes;
  const ModelRunner made(o, mesh);
  const int64_t taken = memory_statistics().bytes - before;
  const int64_t planned = plan_memory(o, {}, {}).our_bytes();
  EXPECT_GE(taken, planned);
  EXPECT_LE(static_cast<double>(taken), static_cast<double>(planned) + 1e5);
}

TEST(MemoryPlan, EighteenBytesAParameterInBf16) {
  EngineOptions o = engine("llama-7b", DType::bf16);
  o.sequence_length = 4096;
  o.micro_batch = 1;
  o.global_batch = 32;
  const MemoryPlan plan = plan_memory(o, {}, {});
  double state = 0;
  for (const auto& line : plan.ours) {
    if (line.purpose == "weights" || line.purpose == "gradients" || line.purpose == "optimizer") {
      state += static_cast<double>(line.bytes);
    }
  }
  EXPECT_NEAR(state / static_cast<double>(o.model.parameters()), 18.0, 0.01);
}

// Moments and master weights are shared over the data-parallel ranks, the rest is not.
TEST(MemoryPlan, DataParallelRanksShareTheOptimizer) {
  const EngineOptions o = engine("gpt2-124m", DType::bf16);
  const auto optimizer = [&](int dp) {
    for (const auto& line : plan_memory(o, {.dp = dp}, {}).ours) {
      if (line.purpose == "optimizer") return static_cast<double>(line.bytes);
    }
    return 0.0;
  };
  EXPECT_NEAR(optimizer(1) / optimizer(4), 4.0, 0.01);
}

// As plans of cuDNN say: tiles of 128 positions, and a copy for each query head that shares keys.
TEST(MemoryPlan, DeterministicAttentionIsCountedInTiles) {
  EngineOptions o = engine("gpt2-tiny", DType::bf16);
  o.sequence_length = 100;
  const auto planned = [&] {
    for (const auto& line : plan_memory(o, {}, {}).outside) {
      if (line.purpose.starts_with("deterministic attention")) return line.bytes;
    }
    return int64_t{0};
  };
  const int64_t heads = 2 * o.model.heads;
  EXPECT_EQ(planned(), heads * (128 * 128 * 2 + 100 * 4));
  o.model.query_groups = o.model.heads / 2;
  EXPECT_EQ(planned(), heads * (128 * 128 * 2 + 100 * 4 + 2 * 100 * o.model.head_dim * 2));
}

// Ranks that share keys hold them each, and exchange their gradients in a group of their own.
TEST(MemoryPlan, SharedKeysAreCountedOnEveryRank) {
  const EngineOptions o = engine("llama-1b", DType::f32);
  const auto line = [&](int tp, const char* name) {
    const MemoryPlan plan = plan_memory(o, {.tp = tp}, {});
    for (const auto* part : {&plan.ours, &plan.outside}) {
      for (const auto& each : *part) {
        if (each.purpose == name) return each.bytes;
      }
    }
    return int64_t{0};
  };
  const int64_t keys = 2 * 4 * 64 * o.model.hidden * o.model.layers * 4;  // bytes
  const int64_t norms = (2 * o.model.layers + 1) * o.model.hidden * 4;
  const int64_t whole = line(1, "weights");
  EXPECT_NEAR(static_cast<double>(line(8, "weights")),
              static_cast<double>((whole - keys - norms) / 8 + keys / 4 + norms), 1e4);
  EXPECT_EQ(line(8, "NCCL's buffers"), line(4, "NCCL's buffers") + (int64_t{128} << 20));
}

TEST(MemoryPlan, KnowsGpusByNameAndSize) {
  EXPECT_EQ(gpu_bytes("h200"), 150'754'820'096);
  EXPECT_EQ(gpu_bytes("4090"), gpu_bytes("NVIDIA GeForce RTX 4090"));
  EXPECT_LT(gpu_bytes("rtx4090"), int64_t{24} << 30);
  EXPECT_EQ(gpu_bytes("a100-80gb"), gpu_bytes("A100-80"));
  EXPECT_EQ(gpu_bytes("80GiB"), int64_t{80} << 30);
  EXPECT_EQ(gpu_bytes("80gb"), 80'000'000'000);
  EXPECT_EQ(gpu_bytes("1.5GiB"), int64_t{3} << 29);
  for (const char* wrong : {"h900", "", "-1", "0", "80", "80G", "a100", "0GiB", "-1GB", "nanGiB",
                            "GiB", "80GiBs", "1e9GB", "rtx"}) {
    EXPECT_THROW(gpu_bytes(wrong), Error) << wrong;
  }
}

}  // namespace
}  // namespace switchyard
