#pragma once

#include <vector>

#include "core/ops/context.h"
#include "parallel/flat_buffers.h"
#include "parallel/mesh.h"

namespace switchyard {

// Sums the gradients of a step over the data-parallel ranks, bucket by bucket while backward still
// runs. After finish() this rank's own part of each bucket holds the sum over all microbatches:
// replicated buckets are summed over tp first, tied ones over first and last stage last (so the
// copies there stay the same bits).
class GradientSync {
 public:
  GradientSync(FlatBuffers& buffers, const Mesh& mesh, ops::Context context);
  void begin_step();                     // zeroes the gradients
  void parameter_ready(int parameter);   // its gradient is complete: called in the last microbatch
  void finish();                         // throws if a parameter was not ready
  // All-gathers the weights of every bucket from their owners; the handles are waited for inside.
  void gather_weights();

 private:
  void start_bucket(size_t bucket);

  FlatBuffers& buffers_;
  const Mesh& mesh_;
  ops::Context context_;
  std::vector<int> missing_;        // parameters of each bucket that are not ready
  std::vector<int> bucket_of_;      // of each parameter
  std::vector<Handle> handles_;
};

}  // namespace switchyard
