#include "core/ops/matmul/prepared.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>

#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul/behind.h"

namespace switchyard::ops::cuda {

namespace {

constexpr std::string_view where = "matmul";
constexpr int64_t workspace_alignment = 256;  // what cuBLASLt's documents ask for
constexpr int most_suggestions = 12;          // that are tried before a plan is given up
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

// What cuBLASLt says of an algorithm, wherever it comes from, with descriptors that point at
// examples; nothing where it is refused or wants too large a workspace.
std::optional<MatmulCandidate> checked(const MatmulPlan& plan, const MatmulDescriptors& descriptors,
                                       const cublasLtMatmulAlgo_t& algorithm) {
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(
      matmul_handle(), descriptors.operation(), descriptors.a(), descriptors.b(), descriptors.d(),
      descriptors.d(), &algorithm, &result);
  const auto workspace = static_cast<int64_t>(result.workspaceSize);
  if (status == CUBLAS_STATUS_SUCCESS && workspace <= plan.workspace_bytes) {
    return MatmulCandidate{algorithm, workspace};
  }
  return {};
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

// A launch that the device refused leaves its context whole; a kernel that failed does not.
bool still_answers(const Stream& stream) {
  cudaGetLastError();
  return cudaStreamSynchronize(switchyard::cuda::native(stream)) == cudaSuccess;
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

bool is_refusal(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
         status == CUBLAS_STATUS_ARCH_MISMATCH || status == CUBLAS_STATUS_INTERNAL_ERROR;
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
  if (is_refusal(status)) return {};
  check_cublas(status, "cublasLtMatmulAlgoGetHeuristic");
  results.resize(static_cast<size_t>(found));
  std::vector<MatmulCandidate> candidates;
  for (const auto& result : results) {
    if (result.state != CUBLAS_STATUS_SUCCESS) continue;
    if (auto candidate = checked(plan, descriptors, result.algo)) candidates.push_back(*candidate);
  }
  return candidates;
}

MatmulWay PreparedMatmul::way() const {
  return {plan_.fusion, std::bit_cast<MatmulAlgorithm>(candidate_.algorithm)};
}

cublasStatus_t PreparedMatmul::multiply(const Context& context, const Tensor& a, const Tensor& b,
                                        const Tensor& d) const {
  Scratch::Scope scope(context.scratch);
  void* workspace = aligned_workspace(scope, candidate_.workspace_bytes);
  const float alpha = 1;
  const cublasStatus_t status = cublasLtMatmul(
      matmul_handle(), descriptors_.operation(), &alpha, b.data, descriptors_.a(), a.data,
      descriptors_.b(), &plan_.beta, d.data, descriptors_.d(), d.data, descriptors_.d(),
      &candidate_.algorithm, workspace, static_cast<size_t>(candidate_.workspace_bytes),
      switchyard::cuda::native(context.stream));
  const bool refused = is_refusal(status) ||
                       (status == CUBLAS_STATUS_EXECUTION_FAILED && still_answers(context.stream));
  if (!refused) check_cublas(status, "cublasLtMatmul");
  return status;
}

cublasStatus_t PreparedMatmul::run(const Context& context, const Tensor& a, const Tensor& b,
                                   const Tensor& c, const MatmulOptions& options) const {
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
  const cublasStatus_t status = multiply(context, a, b, d);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (plan_.bias_behind) add_bias(context, d, options.bias);
  if (plan_.gelu_behind) gelu_behind(context, c, options.gelu_input);
  if (plan_.gelu_gradient_behind) gelu_gradient_behind(context, c, options.gelu_gradient);
  if (plan_.row_sums_behind) row_sums_behind(context, a, options.row_sums);
  if (gradient) add(context, options.row_sums, sums, options.row_sums);
  return status;
}

std::optional<PreparedMatmul> prepare_chosen(const MatmulProduct& product, const MatmulWay& way) {
  const MatmulPlan plan = plan_matmul(product, way.fusion, matmul_workspace_bytes);
  MatmulDescriptors descriptors(plan);
  point_at_examples(plan, descriptors);
  const auto native = std::bit_cast<cublasLtMatmulAlgo_t>(way.algorithm);
  const auto candidate = checked(plan, descriptors, native);
  if (!candidate) return {};
  return PreparedMatmul(plan, std::move(descriptors), *candidate);
}

PreparedMatmul prepare_untimed(const MatmulProduct& product, Fusion most,
                               std::span<const MatmulWay> refused) {
  const auto plans = plans_of(product, matmul_workspace_bytes, most);
  for (const MatmulPlan& plan : plans) {
    const MatmulDescriptors examined(plan);
    for (const auto& candidate : matmul_candidates(plan, examined, most_suggestions)) {
      PreparedMatmul prepared(plan, MatmulDescriptors(plan), candidate);
      if (std::ranges::find(refused, prepared.way()) == refused.end()) return prepared;
    }
  }
  fail(where, "cuBLASLt has no algorithm for {}, even with nothing fused ({}); it refused {}",
       product.to_string(), plans.back().to_string(), refused.size());
}

}  // namespace switchyard::ops::cuda
