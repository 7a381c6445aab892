#include <cublasLt.h>

#include <algorithm>
#include <bit>

#include "tests/emulated_cuda/api.h"
#include "tests/emulated_cuda/cublaslt_checks.h"
#include "tests/emulated_cuda/refusals.h"

// The functions of cuBLASLt that want a driver, over the emulated streams; descriptors are the real
// library's. The algorithms differ in how they split the inner axis, and so in their bits.
using namespace emulated;

namespace {

constexpr uint64_t mark = 0x656d756c61746564;  // of algorithms made here
constexpr int split_choices[] = {1, 2, 4};
constexpr uint32_t most_alignment = 128;  // that is told apart
constexpr uintptr_t workspace_alignment = 256;

// What a cublasLtMatmulAlgo_t holds here.
struct Algorithm {
  uint64_t made_here = mark;
  uint64_t splits = 1;
  LtAlignments alignments;
};

cublasLtMatmulAlgo_t wrap(const Algorithm& algorithm) {
  cublasLtMatmulAlgo_t wrapped{};
  wrapped.data[0] = algorithm.made_here;
  wrapped.data[1] = algorithm.splits;
  wrapped.data[2] = std::bit_cast<uint64_t>(algorithm.alignments);
  return wrapped;
}

Algorithm unwrap(const cublasLtMatmulAlgo_t& wrapped) {
  return {wrapped.data[0], wrapped.data[1], std::bit_cast<LtAlignments>(wrapped.data[2])};
}

const char* name_of(cublasLtEpilogue_t epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_BIAS:
      return "BIAS";
    case CUBLASLT_EPILOGUE_GELU_AUX:
      return "GELU_AUX";
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
      return "GELU_AUX_BIAS";
    case CUBLASLT_EPILOGUE_DGELU:
      return "DGELU";
    case CUBLASLT_EPILOGUE_BGRADB:
      return "BGRADB";
    default:
      return "DEFAULT";
  }
}

// Of a test's wish; see refusals.h. `splits` is 0 where no algorithm is at hand.
bool told_to_refuse(const char* call, const LtProduct& product, uint64_t splits = 0) {
  const bool fused = product.epilogue != CUBLASLT_EPILOGUE_DEFAULT;
  return (fused && (refuses(call) || refuses(call, name_of(product.epilogue)))) ||
         (splits == 1 && refuses(call, "first"));
}

// Parts in fp32, all but the first in the workspace.
size_t workspace_of(const LtProduct& product, uint64_t splits) {
  return static_cast<size_t>(product.d.rows * product.d.columns) * sizeof(float) * (splits - 1);
}

template <class T>
T preferred(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t which) {
  T value{};
  size_t written = 0;
  if (cublasLtMatmulPreferenceGetAttribute(preference, which, &value, sizeof value, &written) !=
      CUBLAS_STATUS_SUCCESS) {
    report("cublasLtMatmulPreferenceGetAttribute " + std::to_string(which));
  }
  return value;
}

// Of an address; no address promises all.
uint8_t alignment_of(const void* address) {
  const auto bits = std::bit_cast<uintptr_t>(address) | most_alignment;
  return static_cast<uint8_t>(bits & -bits);
}

LtAlignments alignments_of(cublasLtMatmulPreference_t preference, const LtProduct& product) {
  const auto promised = [&](cublasLtMatmulPreferenceAttributes_t which) {
    return static_cast<uint8_t>(std::min(preferred<uint32_t>(preference, which), most_alignment));
  };
  return {promised(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES),
          promised(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES),
          promised(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES),
          promised(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES),
          alignment_of(product.bias),
          alignment_of(product.aux)};
}

bool may_split(cublasLtMatmulPreference_t preference, const LtProduct& product) {
  const auto schemes = preferred<uint32_t>(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
  return (schemes & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) != 0 && product.inner() >= 16;
}

cublasStatus_t check_workspace(const LtProduct& product, const Algorithm& algorithm,
                               const void* workspace, size_t bytes) {
  const size_t needed = workspace_of(product, algorithm.splits);
  if (needed == 0) return CUBLAS_STATUS_SUCCESS;
  std::string wrong = workspace == nullptr ? "a null pointer" : check_range(workspace, bytes);
  if (bytes < needed) wrong = "too small";
  if (wrong.empty() && std::bit_cast<uintptr_t>(workspace) % workspace_alignment != 0) {
    wrong = "no multiple of 256";
  }
  if (wrong.empty()) return CUBLAS_STATUS_SUCCESS;
  complain("cublasLtMatmul", "workspace: " + wrong);
  return CUBLAS_STATUS_INVALID_VALUE;
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static int made;
  *handle = reinterpret_cast<cublasLtHandle_t>(&made);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* returned) {
  *returned = 0;
  if (requested < 1) return CUBLAS_STATUS_INVALID_VALUE;
  LtProduct product;
  if (const auto status = read_product({operation, a, b, c, d}, product)) return status;
  if (told_to_refuse("heuristic", product)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto most = preferred<uint64_t>(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  for (const int splits : split_choices) {
    const size_t workspace = workspace_of(product, static_cast<uint64_t>(splits));
    if (*returned == requested || workspace > most) break;
    if (splits > 1 && !may_split(preference, product)) break;
    cublasLtMatmulHeuristicResult_t& result = results[(*returned)++];
    result = {};
    result.algo = wrap({mark, static_cast<uint64_t>(splits), alignments_of(preference, product)});
    result.workspaceSize = workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  const Algorithm algorithm = unwrap(*algo);
  if (algorithm.made_here != mark) return CUBLAS_STATUS_INVALID_VALUE;
  LtProduct product;
  if (const auto status = read_product({operation, a, b, c, d}, product)) return status;
  if (told_to_refuse("check", product, algorithm.splits)) return CUBLAS_STATUS_NOT_SUPPORTED;
  result->workspaceSize = workspace_of(product, algorithm.splits);
  result->state = CUBLAS_STATUS_SUCCESS;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void* alpha,
                              const void* A, cublasLtMatrixLayout_t a, const void* B,
                              cublasLtMatrixLayout_t b, const void* beta, const void* C,
                              cublasLtMatrixLayout_t c, void* D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t* algo, void* workspace, size_t bytes,
                              cudaStream_t stream) {
  LtProduct product;
  if (const auto status = read_product({operation, a, b, c, d}, product)) return status;
  const Algorithm algorithm = algo == nullptr ? Algorithm() : unwrap(*algo);
  if (algorithm.made_here != mark) return CUBLAS_STATUS_INVALID_VALUE;
  if (told_to_refuse("product", product, algorithm.splits)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (told_to_refuse("launch", product, algorithm.splits)) return CUBLAS_STATUS_EXECUTION_FAILED;
  product.splits = static_cast<int>(algorithm.splits);
  product.alpha = *static_cast<const float*>(alpha);
  product.beta = *static_cast<const float*>(beta);
  product.a_data = A;
  product.b_data = B;
  product.c_data = C;
  product.d_data = D;
  auto status = CUBLAS_STATUS_SUCCESS;
  const cudaError_t queued = with_stream(stream, "cublasLtMatmul", [&](Lock&, Stream& on) {
    status = check_addresses(product, algorithm.alignments);
    if (!status) status = check_workspace(product, algorithm, workspace, bytes);
    if (status) return cudaSuccess;
    Machine::get().enqueue(on, [product] {
      compute(product);
      return true;
    });
    return cudaSuccess;
  });
  return queued == cudaSuccess ? status : CUBLAS_STATUS_EXECUTION_FAILED;
}
