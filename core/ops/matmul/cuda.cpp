#include <map>
#include <optional>
#include <vector>

#include "core/cuda/runtime.h"
#include "core/logging.h"
#include "core/ops/backends.h"
#include "core/ops/matmul/matmul.h"
#include "core/ops/matmul/prepared.h"
#include "core/ops/matmul/state.h"

// Matrix products through cuBLASLt. What a kind of product needs is made at its first use and kept
// by the thread, so a step makes nothing after the first.
namespace switchyard::ops {

namespace {

using cuda::MatmulWay;
using cuda::PreparedMatmul;

PreparedMatmul prepare(const MatmulProduct& product, const MatmulState& state) {
  if (!state.fuse) return cuda::prepare_untimed(product, Fusion::none);
  if (!state.table) return cuda::prepare_untimed(product, Fusion::full);
  const MatmulChoice* choice = state.table->find(product);
  if (choice == nullptr) {
    log::info("matmul: the tuning table lacks {}; cuBLASLt's first suggestion is taken",
              product.to_string());
    return cuda::prepare_untimed(product, Fusion::full);
  }
  const MatmulWay way{choice->fusion, choice->algorithm};
  auto chosen = cuda::prepare_chosen(product, way);
  if (chosen) return *std::move(chosen);
  log::warning(
      "matmul: cuBLASLt refuses the tuning table's algorithm for {}; its first suggestion is "
      "taken, "
      "and bits may differ",
      product.to_string());
  return cuda::prepare_untimed(product, Fusion::full, std::span(&way, 1));
}

void note(const MatmulPlan& plan) {
  if (auto* profiler = Profiler::active()) {
    profiler->note({"cuBLASLt", plan.brief(), plan.product.operations()});
  }
}

// Of one thread and GPU. Dropped when settings or the table change.
class PreparedProducts {
 public:
  // A way that cuBLASLt refuses when it is called is replaced by the next one.
  void run(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
           const MatmulOptions& options) {
    if (generation_ != matmul_state_generation()) renew();
    const MatmulProduct product = describe_product(a, b, c, options, state_.allow_tf32);
    Known& known = products_[product];
    if (!known.prepared) known.prepared = prepare(product, state_);
    for (;;) {
      const cublasStatus_t status = known.prepared->run(context, a, b, c, options);
      if (status == CUBLAS_STATUS_SUCCESS) return note(known.prepared->plan());
      log::warning("matmul: cuBLASLt refuses {} ({}); the next way is taken",
                   known.prepared->plan().to_string(), cublasLtGetStatusName(status));
      known.refused.push_back(known.prepared->way());
      known.prepared =
          cuda::prepare_untimed(product, state_.fuse ? Fusion::full : Fusion::none, known.refused);
    }
  }

 private:
  struct Known {
    std::optional<PreparedMatmul> prepared;
    std::vector<MatmulWay> refused;
  };

  void renew() {
    generation_ = matmul_state_generation();
    state_ = matmul_state();
    products_.clear();
  }

  uint64_t generation_ = ~uint64_t{0};
  MatmulState state_;
  std::map<MatmulProduct, Known> products_;
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
  prepared_products().run(context, a, b, c, options);
}

}  // namespace switchyard::ops
