#include "core/ops/matmul_prepared.h"

#include <bit>
#include <map>
#include <mutex>

#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul_behind.h"

namespace switchyard::ops::cuda {

namespace {

constexpr std::string_view where = "matmul";
constexpr int64_t workspace_alignment = 256;  // what cuBLASLt's documents ask for
constexpr uintptr_t epilogue_alignment = 16;  // of a bias, its gradient and a gelu's input

using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check_cublas(
      cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
      "cublasLtMatmulPreferenceSetAttribute");
}

// Split-K adds its parts in fp32 in the workspace, in a kernel behind the product. The other
// schemes add them in the output's dtype, or in the output itself in an order that no document
// promises to be the same each time.
Preference preference_of(const MatmulPlan& plan) {
  cublasLtMatmulPreference_t made = nullptr;
  check_cublas(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
  Preference preference(made);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(plan.workspace_bytes));
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32_t(plan.a.alignment));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, uint32_t(plan.b.alignment));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, uint32_t(plan.d.alignment));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, uint32_t(plan.d.alignment));
  return preference;
}

// Heuristics take the alignment of these addresses for a promise and read nothing behind them: so
// they are no better aligned than every call's.
void point_at_examples(const MatmulPlan& plan, const MatmulDescriptors& descriptors) {
  const auto* aligned = std::bit_cast<const void*>(epilogue_alignment);
  if (plan.takes_vector()) descriptors.point_bias(aligned);
  if (plan.ld_aux != 0) descriptors.point_aux(aligned);
}

void* aligned_workspace(Scratch::Scope& scope, int64_t bytes) {
  if (bytes == 0) return nullptr;
  const auto address = std::bit_cast<uintptr_t>(scope.allocate_bytes(bytes + workspace_alignment));
  const uintptr_t mask = workspace_alignment - 1;
  return std::bit_cast<void*>((address + mask) & ~mask);
}

// The bias as an epilogue takes it: of c's dtype, aligned.
Tensor suited_bias(const Context& context, Scratch::Scope& scope, const Tensor& bias, DType dtype) {
  const bool aligned = std::bit_cast<uintptr_t>(bias.data) % epilogue_alignment == 0;
  if (bias.dtype == dtype && aligned) return bias;
  const Tensor suited = scope.allocate(bias.shape, dtype);
  cast(context, bias, suited);
  return suited;
}

}  // namespace

cublasLtHandle_t matmul_handle() {
  static std::mutex mutex;
  static auto& handles = *new std::map<int, cublasLtHandle_t>();  // the driver may end before us
  int device = 0;
  switchyard::cuda::check_cuda(cudaGetDevice(&device), where, "cudaGetDevice");
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device];
  if (handle == nullptr) check_cublas(cublasLtCreate(&handle), "cublasLtCreate");
  return handle;
}

MatmulAlgorithm to_words(const cublasLtMatmulAlgo_t& algorithm) {
  return std::bit_cast<MatmulAlgorithm>(algorithm);
}

std::vector<MatmulCandidate> matmul_candidates(const MatmulPlan& plan,
                                               const MatmulDescriptors& descriptors, int most) {
  point_at_examples(plan, descriptors);
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(most));
  int found = 0;
  const auto preference = preference_of(plan);
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      matmul_handle(), descriptors.operation(), descriptors.a(), descriptors.b(), descriptors.d(),
      descriptors.d(), preference.get(), most, results.data(), &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  // So it may answer an epilogue that it does not have; without one it would be our mistake.
  if (status == CUBLAS_STATUS_INVALID_VALUE && plan.epilogue != Epilogue::none) return {};
  check_cublas(status, "cublasLtMatmulAlgoGetHeuristic");
  results.resize(static_cast<size_t>(found));
  std::vector<MatmulCandidate> candidates;
  for (const auto& result : results) {
    if (result.state != CUBLAS_STATUS_SUCCESS) continue;
    candidates.push_back({result.algo, static_cast<int64_t>(result.workspaceSize)});
  }
  return candidates;
}

MatmulCandidate checked_candidate(const MatmulPlan& plan, const MatmulDescriptors& descriptors,
                                  const MatmulAlgorithm& algorithm) {
  point_at_examples(plan, descriptors);
  const auto native = std::bit_cast<cublasLtMatmulAlgo_t>(algorithm);
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status =
      cublasLtMatmulAlgoCheck(matmul_handle(), descriptors.operation(), descriptors.a(),
                              descriptors.b(), descriptors.d(), descriptors.d(), &native, &result);
  const auto workspace = static_cast<int64_t>(result.workspaceSize);
  check(status == CUBLAS_STATUS_SUCCESS && workspace <= plan.workspace_bytes, where,
        "the tuning table's algorithm for {} is refused by cuBLASLt: {}, {} bytes of workspace; "
        "{} are allowed. Without the file of the table (matmul.jsonl) products are timed anew",
        plan.product.to_string(), cublasLtGetStatusName(status), workspace, plan.workspace_bytes);
  return {native, workspace};
}

void PreparedMatmul::multiply(const Context& context, const Tensor& a, const Tensor& b,
                              const Tensor& d) const {
  Scratch::Scope scope(context.scratch);
  void* workspace = aligned_workspace(scope, candidate_.workspace_bytes);
  const float alpha = 1;
  check_cublas(cublasLtMatmul(matmul_handle(), descriptors_.operation(), &alpha, b.data,
                              descriptors_.a(), a.data, descriptors_.b(), &plan_.beta, d.data,
                              descriptors_.d(), d.data, descriptors_.d(), &candidate_.algorithm,
                              workspace, static_cast<size_t>(candidate_.workspace_bytes),
                              switchyard::cuda::native(context.stream)),
               "cublasLtMatmul");
}

void PreparedMatmul::run(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
                         const MatmulOptions& options) const {
  Scratch::Scope scope(context.scratch);
  const Tensor& d = plan_.gelu_behind ? options.gelu_input : c;
  const bool gradient = plan_.epilogue == Epilogue::bgradb;
  Tensor sums;
  if (gradient) {
    sums = scope.allocate(options.row_sums.shape, DType::f32);
    descriptors_.point_bias(sums.data);
  } else if (options.bias && !plan_.bias_behind) {
    descriptors_.point_bias(suited_bias(context, scope, options.bias, c.dtype).data);
  }
  if (plan_.ld_aux != 0) {
    descriptors_.point_aux((options.gelu_input ? options.gelu_input : options.gelu_gradient).data);
  }
  multiply(context, a, b, d);
  if (plan_.bias_behind) add_bias(context, d, options.bias);
  if (plan_.gelu_behind) gelu_behind(context, c, options);
  if (plan_.gelu_gradient_behind) gelu_gradient_behind(context, c, options);
  if (plan_.row_sums_behind) row_sums_behind(context, a, options);
  if (gradient) add(context, options.row_sums, sums, options.row_sums);
}

PreparedMatmul prepare_untimed(const MatmulProduct& product, const MatmulSettings& settings) {
  const auto plans =
      settings.fuse ? plans_of(product, settings.workspace_bytes)
                    : std::vector{plan_matmul(product, Fusion::none, settings.workspace_bytes)};
  for (const MatmulPlan& plan : plans) {
    MatmulDescriptors descriptors(plan);
    const auto candidates = matmul_candidates(plan, descriptors, 1);
    if (!candidates.empty()) return {plan, std::move(descriptors), candidates[0]};
  }
  fail(where, "cuBLASLt has no algorithm for {}, even with nothing fused ({})", product.to_string(),
       plans.back().to_string());
}

}  // namespace switchyard::ops::cuda
