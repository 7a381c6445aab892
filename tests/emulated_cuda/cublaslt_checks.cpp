#include "tests/emulated_cuda/cublaslt_checks.h"

#include <bit>
#include <string>

#include "tests/emulated_cuda/memory_space.h"
#include "tests/emulated_cuda/report.h"

namespace emulated {

namespace {

cublasStatus_t refuse(cublasStatus_t status, const std::string& what) {
  complain("cublasLtMatmul", what);
  return status;
}

template <class T>
T attribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t which) {
  T value{};
  size_t written = 0;
  if (cublasLtMatmulDescGetAttribute(operation, which, &value, sizeof value, &written) !=
      CUBLAS_STATUS_SUCCESS) {
    report("cublasLtMatmulDescGetAttribute " + std::to_string(which));
  }
  return value;
}

template <class T>
T attribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t which) {
  T value{};
  size_t written = 0;
  if (cublasLtMatrixLayoutGetAttribute(layout, which, &value, sizeof value, &written) !=
      CUBLAS_STATUS_SUCCESS) {
    report("cublasLtMatrixLayoutGetAttribute " + std::to_string(which));
  }
  return value;
}

LtMatrix read_layout(cublasLtMatrixLayout_t layout) {
  LtMatrix x;
  x.rows = static_cast<int64_t>(attribute<uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_ROWS));
  x.columns = static_cast<int64_t>(attribute<uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_COLS));
  x.ld = attribute<int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_LD);
  x.type = static_cast<cudaDataType_t>(attribute<uint32_t>(layout, CUBLASLT_MATRIX_LAYOUT_TYPE));
  return x;
}

bool is_plain(cublasLtMatrixLayout_t layout) {
  return attribute<int32_t>(layout, CUBLASLT_MATRIX_LAYOUT_ORDER) == CUBLASLT_ORDER_COL &&
         attribute<int32_t>(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) == 1;
}

bool same(const LtMatrix& x, const LtMatrix& y) {
  return x.rows == y.rows && x.columns == y.columns && x.ld == y.ld && x.type == y.type;
}

cublasStatus_t check_shapes(const LtDescriptors& from, const LtProduct& p) {
  if (!is_plain(from.a) || !is_plain(from.b) || !is_plain(from.c) || !is_plain(from.d)) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "an order or batch that is not emulated");
  }
  for (const LtMatrix* x : {&p.a, &p.b, &p.d}) {
    if (x->rows < 1 || x->columns < 1 || x->ld < x->rows) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "a matrix of " + std::to_string(x->rows) +
                                                     " rows has ld " + std::to_string(x->ld));
    }
  }
  const int64_t inner_b = p.transpose_b ? p.b.columns : p.b.rows;
  const int64_t rows = p.transpose_a ? p.a.columns : p.a.rows;
  const int64_t columns = p.transpose_b ? p.b.rows : p.b.columns;
  if (p.inner() != inner_b || rows != p.d.rows || columns != p.d.columns ||
      !same(p.d, read_layout(from.c))) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "matrices whose shapes do not fit one another");
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t check_types(const LtProduct& p, cublasComputeType_t compute) {
  const bool inputs = size_of(p.a.type) != 0 && p.a.type == p.b.type;
  const bool output = p.d.type == p.a.type || p.d.type == CUDA_R_32F;
  const bool computes = compute == CUBLAS_COMPUTE_32F ||
                        (compute == CUBLAS_COMPUTE_32F_FAST_TF32 && p.a.type == CUDA_R_32F);
  if (inputs && output && computes) return CUBLAS_STATUS_SUCCESS;
  return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a combination of types that is not supported");
}

bool is_known(cublasLtEpilogue_t epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB:
      return true;
    default:
      return false;
  }
}

bool is_type_of_output(int32_t type, const LtProduct& p) { return type == -1 || type == p.d.type; }

cublasStatus_t check_epilogue(const LtDescriptors& from, const LtProduct& p) {
  const auto bias = attribute<int32_t>(from.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
  const auto aux = attribute<int32_t>(from.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE);
  if (!is_known(p.epilogue) || !is_type_of_output(bias, p) || !is_type_of_output(aux, p)) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED,
                  "epilogue " + std::to_string(p.epilogue) + " with these types");
  }
  // Others have measured this on an RTX 3060 with cuBLASLt 13.0; no document says it.
  if ((p.has(CUBLASLT_EPILOGUE_BGRADA) && p.transpose_a) ||
      (p.has(CUBLASLT_EPILOGUE_BGRADB) && !p.transpose_b)) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a bias gradient along columns");
  }
  const bool gelu = p.has(CUBLASLT_EPILOGUE_GELU_AUX) || p.has(CUBLASLT_EPILOGUE_DGELU);
  if (gelu && (p.ld_aux % 8 != 0 || p.ld_aux < p.d.rows)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE,
                  "ld " + std::to_string(p.ld_aux) + " of the auxiliary matrix for " +
                      std::to_string(p.d.rows) + " rows; it must be a multiple of 8");
  }
  // Silently, as a heuristic that knows no kernel: so that what follows is seen, too.
  if (gelu && (size_of(p.d.type) == 4 || p.d.ld % 2 != 0)) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

bool is_aligned(const void* address, size_t alignment) {
  return std::bit_cast<uintptr_t>(address) % alignment == 0;
}

cublasStatus_t check_vector(const LtProduct& p, size_t alignment) {
  const bool columns = p.has(CUBLASLT_EPILOGUE_BGRADB);
  if (!columns && !p.has(CUBLASLT_EPILOGUE_BIAS) && !p.has(CUBLASLT_EPILOGUE_BGRADA)) {
    return CUBLAS_STATUS_SUCCESS;
  }
  const int64_t length = columns ? p.d.columns : p.d.rows;
  const auto bytes = static_cast<size_t>(length * size_of(p.d.type));
  const std::string wrong = p.bias == nullptr ? "a null pointer" : check_range(p.bias, bytes);
  if (!wrong.empty() || !is_aligned(p.bias, alignment)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE,
                  "bias: " + (wrong.empty() ? "less aligned than for the heuristics" : wrong));
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

cublasStatus_t read_product(const LtDescriptors& from, LtProduct& p) {
  const cublasLtMatmulDesc_t operation = from.operation;
  const auto transposes = [&](cublasLtMatmulDescAttributes_t which) {
    return attribute<int32_t>(operation, which) == CUBLAS_OP_T;
  };
  const auto compute = static_cast<cublasComputeType_t>(
      attribute<int32_t>(operation, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE));
  p.a = read_layout(from.a);
  p.b = read_layout(from.b);
  p.d = read_layout(from.d);
  p.transpose_a = transposes(CUBLASLT_MATMUL_DESC_TRANSA);
  p.transpose_b = transposes(CUBLASLT_MATMUL_DESC_TRANSB);
  p.tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  p.epilogue = static_cast<cublasLtEpilogue_t>(
      attribute<uint32_t>(operation, CUBLASLT_MATMUL_DESC_EPILOGUE));
  p.ld_aux = attribute<int64_t>(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
  p.bias = attribute<void*>(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
  p.aux = attribute<void*>(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
  if (const auto status = check_shapes(from, p)) return status;
  if (const auto status = check_types(p, compute)) return status;
  return check_epilogue(from, p);
}

cublasStatus_t check_addresses(const LtProduct& p, const LtAlignments& alignments) {
  struct Operand {
    const char* name;
    const void* data;
    const LtMatrix& matrix;
    size_t alignment;
  };
  const LtMatrix aux{p.d.rows, p.d.columns, p.ld_aux, p.d.type};
  for (const Operand& x : {Operand{"A", p.a_data, p.a, alignments.a},
                           {"B", p.b_data, p.b, alignments.b},
                           {"C", p.c_data, p.d, alignments.c},
                           {"D", p.d_data, p.d, alignments.d},
                           {"the auxiliary matrix", p.aux, aux, alignments.aux}}) {
    if (&x.matrix == &aux && p.ld_aux == 0) continue;
    std::string wrong = x.data == nullptr ? "a null pointer" : "";
    if (wrong.empty()) wrong = check_range(x.data, static_cast<size_t>(x.matrix.bytes()));
    if (wrong.empty() && !is_aligned(x.data, x.alignment)) {
      wrong = "no multiple of " + std::to_string(x.alignment) + ", which was promised";
    }
    if (!wrong.empty()) return refuse(CUBLAS_STATUS_INVALID_VALUE, x.name + (": " + wrong));
  }
  return check_vector(p, alignments.bias);
}

}  // namespace emulated
