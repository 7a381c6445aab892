#pragma once

#include <cstdint>
#include <vector>

#include "core/ops/context.h"
#include "optim/flat_buffers.h"
#include "parallel/mesh.h"

namespace switchyard {

// Sums the gradients of a step over the data-parallel ranks, bucket by bucket while backward still
// runs. After finish() this rank's own part of each bucket holds the sum over all microbatches:
// replicated buckets are summed over tp first; last are tied ones over first and last stage, and
// fused parameters over their replicas (so the copies there stay the same bits). All ranks of a
// group must report their parameters in one order, as the ranks of a stage do. One step at a time:
// begin_step, then parameters in any order, finish.
class GradientSync {
 public:
  // Both must outlive this object. Collective over tp. Throws Error where the buffers were not made
  // for this mesh.
  GradientSync(FlatBuffers& buffers, const Mesh& mesh, ops::Context context);
  void begin_step();                    // zeroes the gradients that backward adds to
  void parameter_ready(int parameter);  // its gradient is complete: called in the last microbatch
  void finish();                        // throws if a parameter was not ready
  // All-gathers the weights of every bucket from their owners; the handles are waited for inside.
  void gather_weights();
  // The same beside the next forward: starts the all-gathers in the order in which forward needs
  // them. A parameter's weights may be used by work queued after weights_needed(parameter), and its
  // own part may be written again after that or after wait_for_weights(), which is for all.
  void start_gathering_weights();
  void weights_needed(int parameter);
  void wait_for_weights();

 private:
  void gather_bucket(size_t bucket);
  void find_added();
  void find_fused_replicas();
  void start_bucket(size_t bucket);  // its reduce-scatter over dp
  void sum_replicated_over_tp();
  void sum_tied_over_stages();
  void sum_fused_over_replicas();
  void wait_all();
  Buffer whole(const Tensor& flat, const Bucket& bucket) const;

  FlatBuffers& buffers_;
  const Mesh& mesh_;
  ops::Context context_;
  std::vector<Tensor> added_;      // stretches of the gradients that backward does not overwrite
  std::vector<uint8_t> ready_;     // of each parameter
  std::vector<size_t> bucket_of_;  // of each parameter
  std::vector<size_t> missing_;    // parameters of each bucket that are not ready
  std::vector<Handle> handles_;    // of each bucket
  std::vector<Handle> gathers_;    // of each bucket
  std::vector<Tensor> fused_;      // own parts of the gradients of fused replicas
  std::vector<Handle> sums_;       // of each of them
  std::unique_ptr<Communicator> replicas_;  // a part of tp; none where all of tp are
};

}  // namespace switchyard
