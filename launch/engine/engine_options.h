#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "model/gpt_stage.h"
#include "optim/averages.h"
#include "optim/distributed_optimizer.h"
#include "optim/flat_buffers.h"
#include "parallel/mesh.h"

namespace switchyard {

struct EngineOptions {
  GptConfig model;
  DType dtype = DType::f32;
  int64_t sequence_length = 0;
  int64_t micro_batch = 1;
  int64_t global_batch = 1;          // samples of a training step
  std::vector<int> pipeline_layers;  // of each stage; empty: balanced
  uint64_t seed = 0;
  DistributedOptimizer::Options optimizer;
  std::vector<AverageRecord> averages;  // of a training's weights
  bool averages_on_host = false;        // on a GPU
  bool training = true;                 // false: weights and forward passes only
  Device device = Device::cpu;          // of everything that the engine holds
  int64_t head_chunk = 0;               // rows whose logits live at once; 0: all of a microbatch
  bool deterministic = true;
  bool cuda_graph = false;  // capture a training step and replay it; one rank on a GPU
  // With cuda_graph: waiting longer for a step is an error; 0: never.
  std::chrono::milliseconds step_limit{0};
  int64_t exchange_chunks = 1;  // of tensor-parallel exchanges beside products; 1: no overlap
};

// How many of `count` microbatches each dp rank computes: counts differ by at most one, the first
// ranks take the odd ones, and a rank's are neighbours.
struct Share {
  int64_t begin = 0;
  int64_t end = 0;
};
Share share_of(int64_t count, int parts, int part);

// What planning needs of an engine without making one. The activations of `slots` microbatches live
// at once on a stage, whatever its dp rank's count of microbatches.
int activation_slots(const EngineOptions& options, const Layout& layout, const Coordinates& place);
GptStage::Options stage_options(const EngineOptions& options, int slots);
FlatBuffers::Options buffer_options(const EngineOptions& options, const Layout& layout,
                                    const Coordinates& place);
int64_t held_microbatches(const EngineOptions& options, const Layout& layout);  // their tokens

// Throws Error for a layout, batch or micro-batch that does not fit; needs no rank and no memory.
void check_engine(const EngineOptions& options, const Layout& layout);

// Microbatches that one evaluation run holds the tokens of.
constexpr int64_t evaluation_run = 16;

}  // namespace switchyard
