#pragma once

#include <cublasLt.h>

#include <optional>
#include <span>
#include <vector>

#include "core/ops/matmul/descriptors.h"
#include "core/ops/matmul/settings.h"
#include "core/ops/matmul/tuning.h"

// Private to core/ops.
namespace switchyard::ops::cuda {

// cuBLASLt's handle for the selected GPU; made once for each and kept to the end of the process.
cublasLtHandle_t matmul_handle();

struct MatmulCandidate {
  cublasLtMatmulAlgo_t algorithm;
  int64_t workspace_bytes;
};

// Statuses by which cuBLASLt refuses a product rather than fails: another way may be open.
bool is_refusal(cublasStatus_t status);

// At most `most` algorithms for a plan that cuBLASLt suggests and, asked again, does not refuse;
// the one thought fastest first. The same each time.
std::vector<MatmulCandidate> matmul_candidates(const MatmulPlan& plan,
                                               const MatmulDescriptors& descriptors, int most);

MatmulAlgorithm to_words(const cublasLtMatmulAlgo_t& algorithm);

// One way to compute a product, as a table keeps it.
struct MatmulWay {
  Fusion fusion = Fusion::full;
  MatmulAlgorithm algorithm{};
  friend bool operator==(const MatmulWay&, const MatmulWay&) = default;
};

// A product with everything made that it needs, of one thread: its descriptors take each call's
// addresses.
class PreparedMatmul {
 public:
  PreparedMatmul(MatmulPlan plan, MatmulDescriptors descriptors, const MatmulCandidate& candidate)
      : plan_(std::move(plan)), descriptors_(std::move(descriptors)), candidate_(candidate) {}

  const MatmulPlan& plan() const { return plan_; }
  MatmulWay way() const;
  // The product and what is done behind it; the arguments are those that the plan was made for.
  // Where cuBLASLt refuses the call, its status, and nothing was computed. Throws Error for others.
  cublasStatus_t run(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
                     const MatmulOptions& options) const;

 private:
  cublasStatus_t multiply(const Context& context, const Tensor& a, const Tensor& b,
                          const Tensor& d) const;

  MatmulPlan plan_;
  MatmulDescriptors descriptors_;
  MatmulCandidate candidate_;
};

// That way, or nothing where cuBLASLt refuses it.
std::optional<PreparedMatmul> prepare_chosen(const MatmulProduct& product, const MatmulWay& way);

// What ops::matmul takes without timing: the most fused plan up to `most` that cuBLASLt has an
// algorithm for, with its first suggestion that is not among those `refused`. Throws Error where
// none is left.
PreparedMatmul prepare_untimed(const MatmulProduct& product, Fusion most = Fusion::full,
                               std::span<const MatmulWay> refused = {});

// c [rows, n] += bias [n] in each row; dtypes may differ.
void add_bias(const Context& context, const Tensor& c, const Tensor& bias);

}  // namespace switchyard::ops::cuda
