#pragma once

#include <functional>
#include <vector>

#include "model/gpt_stage.h"
#include "parallel/comm/communicators.h"
#include "tests/model/reference_model.h"

namespace switchyard::test {

// Tiny models of the families, with every dropout at `dropout`. Of Llama's kind: Qwen2 has biases
// of q, k, v; Llama 3 scaled frequencies, here with biases of attention alone; the fourth has
// biases of the MLP alone.
GptConfig tiny_gpt2(double dropout);
GptConfig tiny_llama(double dropout);
GptConfig tiny_qwen2(double dropout);
GptConfig tiny_llama3(double dropout);
GptConfig tiny_biased_mlp(double dropout);
GptConfig tiny_neox(double dropout);

// What is computed: `microbatches` of `samples` each, dealt to the data-parallel ranks in turn.
struct ModelRun {
  GptConfig config;
  Layout layout;
  int64_t samples = 2;
  int64_t length = 8;
  int microbatches = 2;
  DType dtype = DType::f32;
  uint64_t seed = 7;
  int64_t step = 3;
  bool training = true;
  std::vector<int> layers_of_stages;
  Device device = Device::cpu;
  int64_t head_chunk = 0;
  int64_t exchange_chunks = 1;
  float multiplier = 1.0f;  // of the gradients, as a number and as one in the device's memory
  float loss_scale = 1.0f;
  bool evaluate_between = false;  // a forward pass without dropout before each training step
  // Expects of each rank's training step, on the CPU, the matrix products that its stage states.
  bool expect_stated_products = false;
};

struct ModelResult {
  double loss_sum = 0;
  Weights weights, gradients;        // whole tensors, gradients summed over all microbatches (dp 1)
  std::vector<int64_t> allocations;  // of the process after each repetition, but for exchanges
  std::vector<double> losses;        // of each repetition, last rank
  std::vector<double> evaluated;     // with evaluate_between
};

// Token `position` of sample `sample` of the stream that the tests use; targets are the next ones,
// every seventh left out.
ReferenceBatch reference_batch(const ModelRun& run, int64_t first_sample, int64_t samples);

// Runs the model on thread ranks (delayed, poisoned) or, for one rank, on the self communicator.
ModelResult run_model(const ModelRun& run, int repetitions = 1);

}  // namespace switchyard::test
