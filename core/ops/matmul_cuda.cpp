#include <map>

#include "core/cuda/runtime.h"
#include "core/logging.h"
#include "core/ops/backends.h"
#include "core/ops/matmul_prepared.h"
#include "core/ops/matmul_state.h"

// Matrix products through cuBLASLt. What a kind of product needs is made at its first use and kept
// by the thread, so a step makes nothing after the first.
namespace switchyard::ops {

namespace {

using cuda::MatmulDescriptors;
using cuda::PreparedMatmul;

PreparedMatmul prepare(const MatmulProduct& product, const MatmulState& state) {
  if (!state.table || !state.settings.fuse) return cuda::prepare_untimed(product, state.settings);
  const MatmulChoice* choice = state.table->find(product);
  if (choice == nullptr) {
    log::info("matmul: the tuning table lacks {}; cuBLASLt's first suggestion is taken",
              product.to_string());
    return cuda::prepare_untimed(product, state.settings);
  }
  const MatmulPlan plan = plan_matmul(product, choice->fusion, state.settings.workspace_bytes);
  MatmulDescriptors descriptors(plan);
  const auto candidate = cuda::checked_candidate(plan, descriptors, choice->algorithm);
  return {plan, std::move(descriptors), candidate};
}

// Of one thread and GPU. Dropped when settings or the table change.
class PreparedProducts {
 public:
  PreparedMatmul& of(const Tensor& a, const Tensor& b, const Tensor& c,
                     const MatmulOptions& options) {
    if (generation_ != matmul_state_generation()) renew();
    const MatmulProduct product = describe_product(a, b, c, options, state_.settings.allow_tf32);
    const auto found = products_.find(product);
    if (found != products_.end()) return found->second;
    return products_.emplace(product, prepare(product, state_)).first->second;
  }

 private:
  void renew() {
    generation_ = matmul_state_generation();
    state_ = matmul_state();
    products_.clear();
  }

  uint64_t generation_ = ~uint64_t{0};
  MatmulState state_;
  std::map<MatmulProduct, PreparedMatmul> products_;
};

PreparedProducts& prepared_products() {
  thread_local std::map<int, PreparedProducts> of_device;
  int device = 0;
  switchyard::cuda::check_cuda(cudaGetDevice(&device), "matmul", "cudaGetDevice");
  return of_device[device];
}

}  // namespace

void cuda::matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
                  const MatmulOptions& options) {
  prepared_products().of(a, b, c, options).run(context, a, b, c, options);
}

}  // namespace switchyard::ops
