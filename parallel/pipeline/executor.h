#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/memory.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/buffers.h"
#include "parallel/pipeline/schedule.h"

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

// Runs a list of actions: posts receives as far ahead as buffers are free, hands buffers to the
// worker, sends asynchronously and reuses a buffer only when its operation has finished. Owns all
// exchange buffers, allocated once for `slots` live microbatches: the most, over the schedules that
// it will run, whose forward is begun and backward not done. A slot is taken at forward and given
// back after backward, or right after forward where the list has no backward for that microbatch.
class PipelineExecutor {
 public:
  // exchanged: the shape and dtype of what passes between stages, [rows, hidden]; the buffers are
  // on the stream's device. Collective over the stages.
  PipelineExecutor(const Mesh& mesh, const Shape& exchanged, DType dtype, int slots,
                   Stream& stream);
  int slots() const { return slots_; }
  // Throws Error for a list that cannot be run: exchanges with a stage that does not exist, more
  // live microbatches than slots, actions out of order, several chunks, a divided backward.
  void run(std::span<const Action> actions, PipelineWorker& worker);
  // Bytes of the exchange buffers; a stage in the middle needs the most.
  static int64_t bytes_needed(const Shape& exchanged, DType dtype, int slots,
                              bool first_stage = false, bool last_stage = false);

 private:
  void plan(std::span<const Action> actions);
  void perform(const Action& action, PipelineWorker& worker);
  void forward(const Action& action, PipelineWorker& worker);
  void backward(const Action& action, PipelineWorker& worker);
  void end_life(int microbatch);
  PipelineWorker::Place place_of(const Action& action) const;

  int slots_ = 0;
  Arena arena_;
  PipelineInbox inputs_, output_gradients_;
  PipelineOutbox outputs_, input_gradients_;
  std::vector<int> free_slots_;
  std::vector<int> slot_of_;           // of each microbatch that lives, else -1
  std::vector<uint8_t> has_backward_;  // of each microbatch
  int last_microbatch_ = 0;
};

}  // namespace switchyard
