#pragma once

#include <cublasLt.h>

#include <vector>

#include "core/ops/matmul_descriptors.h"
#include "core/ops/matmul_settings.h"
#include "core/ops/matmul_tuning.h"

// Private to core/ops.
namespace switchyard::ops::cuda {

// cuBLASLt's handle for the selected GPU; made once for each and kept to the end of the process.
cublasLtHandle_t matmul_handle();

struct MatmulCandidate {
  cublasLtMatmulAlgo_t algorithm;
  int64_t workspace_bytes;
};

// At most `most` algorithms for a plan, the one thought fastest first; the same each time.
std::vector<MatmulCandidate> matmul_candidates(const MatmulPlan& plan,
                                               const MatmulDescriptors& descriptors, int most);

// The algorithm of a table, its workspace as cuBLASLt says. Throws Error where it is refused.
MatmulCandidate checked_candidate(const MatmulPlan& plan, const MatmulDescriptors& descriptors,
                                  const MatmulAlgorithm& algorithm);

MatmulAlgorithm to_words(const cublasLtMatmulAlgo_t& algorithm);

// A product with everything made that it needs, of one thread: its descriptors take each call's
// addresses.
class PreparedMatmul {
 public:
  PreparedMatmul(MatmulPlan plan, MatmulDescriptors descriptors, const MatmulCandidate& candidate)
      : plan_(std::move(plan)), descriptors_(std::move(descriptors)), candidate_(candidate) {}

  const MatmulPlan& plan() const { return plan_; }
  const MatmulCandidate& candidate() const { return candidate_; }
  // The product and what is done behind it; the arguments are those that the plan was made for.
  void run(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
           const MatmulOptions& options) const;

 private:
  void multiply(const Context& context, const Tensor& a, const Tensor& b, const Tensor& d) const;

  MatmulPlan plan_;
  MatmulDescriptors descriptors_;
  MatmulCandidate candidate_;
};

// What ops::matmul takes without timing: the most fused plan that cuBLASLt has an algorithm for,
// with its first suggestion. Throws Error where it has none.
PreparedMatmul prepare_untimed(const MatmulProduct& product, const MatmulSettings& settings);

// c [rows, n] += bias [n] in each row; dtypes may differ.
void add_bias(const Context& context, const Tensor& c, const Tensor& bias);

}  // namespace switchyard::ops::cuda
