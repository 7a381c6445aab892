#pragma once

#include <vector>

#include "model/gpt_stage.h"
#include "optim/distributed_optimizer.h"
#include "optim/gradient_sync.h"
#include "optim/schedule.h"
#include "tests/golden/golden_file.h"

namespace switchyard::test {

// One rank that trains as PyTorch did.
class GoldenTrainer {
 public:
  GoldenTrainer(const GoldenFile& golden, const Layout& layout, Device device, DType dtype,
                Communicator& world);

  // Step 1, 2, ...: this rank's part of the mean loss over the global batch.
  double step(int64_t number);

 private:
  GptStage::Options stage_options(Device device, DType dtype) const;
  DistributedOptimizer::Options optimizer_options() const;
  void load_weights();
  void make_inputs();
  Tensor put(const void* host, const Shape& shape, DType dtype);
  std::vector<TokenBatch> read_batches(int64_t number);

  const GoldenFile& golden_;
  Stream stream_;
  Scratch scratch_;
  ops::Context context_{stream_, scratch_};
  Mesh mesh_;
  std::vector<Action> schedule_;
  GptStage stage_;
  FlatBuffers buffers_;
  GradientSync sync_;
  DistributedOptimizer optimizer_;
  PipelineExecutor executor_;
  Schedule rate_;
  Arena inputs_;  // of one step
};

}  // namespace switchyard::test
