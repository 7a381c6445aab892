#pragma once

#include <span>
#include <vector>

#include "core/memory.h"
#include "parallel/mesh.h"
#include "parallel/pipeline_schedule.h"

namespace switchyard {

// What a pipeline rank computes; implemented by the model.
class PipelineWorker {
 public:
  struct Place {
    int chunk = 0;
    int microbatch = 0;
    int slot = 0;                  // where its activations live, from forward to backward
    bool last_microbatch = false;  // of this chunk: gradients are complete after its backward
  };
  virtual ~PipelineWorker() = default;
  // input [rows, hidden] is empty on the first stage, output on the last. The input stays valid
  // and unchanged until the backward pass of the same microbatch has returned.
  virtual void forward(const Place& place, const Tensor& input, const Tensor& output) = 0;
  // output_gradient is empty on the last stage, input_gradient on the first.
  virtual void backward(const Place& place, const Tensor& input, const Tensor& output_gradient,
                        const Tensor& input_gradient) = 0;
};

// Runs a list of actions: posts receives, hands buffers to the worker, sends asynchronously and
// reuses a buffer only when its operation has finished. Owns all exchange buffers, allocated once
// for `slots` live microbatches (peak_live of the longest schedule it will run).
class PipelineExecutor {
 public:
  // exchanged: the shape and dtype of what passes between stages, [rows, hidden].
  PipelineExecutor(const Mesh& mesh, const Shape& exchanged, DType dtype, int slots,
                   Stream& stream);
  int slots() const { return slots_; }
  void run(std::span<const Action> actions, PipelineWorker& worker);
  static int64_t bytes_needed(const Shape& exchanged, DType dtype, int slots);

 private:
  // (filled in by the implementation)
  int slots_ = 0;
};

}  // namespace switchyard
