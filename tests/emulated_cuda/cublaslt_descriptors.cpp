#include <cublasLt.h>

#include <cstring>
#include <map>
#include <vector>

// Where there is no cuBLASLt to make and read its descriptors: each holds the bytes that were set
// for each attribute, and at first what the library's documentation says are the defaults.
namespace {

struct Attributes {
  std::map<int, std::vector<char>> values;

  template <class T>
  void put(int attribute, T value) {
    set(attribute, &value, sizeof value);
  }
  void set(int attribute, const void* value, size_t bytes) {
    const auto* begin = static_cast<const char*>(value);
    values[attribute].assign(begin, begin + bytes);
  }
};

template <class Handle>
Attributes* opened(Handle handle) {
  return reinterpret_cast<Attributes*>(handle);
}

template <class Handle>
cublasStatus_t keep(Handle* made, Attributes attributes) {
  *made = reinterpret_cast<Handle>(new Attributes(std::move(attributes)));
  return CUBLAS_STATUS_SUCCESS;
}

template <class Handle>
cublasStatus_t end(Handle handle) {
  delete opened(handle);
  return CUBLAS_STATUS_SUCCESS;
}

// A value has the size of the attribute's default.
template <class Handle>
cublasStatus_t set(Handle handle, int attribute, const void* value, size_t bytes) {
  auto& values = opened(handle)->values;
  const auto found = values.find(attribute);
  if (found == values.end() || found->second.size() != bytes) return CUBLAS_STATUS_INVALID_VALUE;
  opened(handle)->set(attribute, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

template <class Handle>
cublasStatus_t get(Handle handle, int attribute, void* value, size_t bytes, size_t* written) {
  const auto& values = opened(handle)->values;
  const auto found = values.find(attribute);
  if (found == values.end() || found->second.size() != bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(value, found->second.data(), bytes);
  if (written != nullptr) *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "an unknown status";
}

const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

size_t cublasLtGetVersion() { return 130000; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* made, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  Attributes a;
  a.put(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, static_cast<int32_t>(compute));
  a.put(CUBLASLT_MATMUL_DESC_SCALE_TYPE, static_cast<int32_t>(scale));
  a.put(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(CUBLAS_OP_N));
  a.put(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<int32_t>(CUBLAS_OP_N));
  a.put(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(CUBLASLT_EPILOGUE_DEFAULT));
  a.put(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(nullptr));
  a.put(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, int32_t{-1});
  a.put(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<const void*>(nullptr));
  a.put(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, int64_t{0});
  a.put(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, int32_t{-1});
  return keep(made, std::move(a));
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* made, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld) {
  Attributes a;
  a.put(CUBLASLT_MATRIX_LAYOUT_TYPE, static_cast<uint32_t>(type));
  a.put(CUBLASLT_MATRIX_LAYOUT_ORDER, static_cast<int32_t>(CUBLASLT_ORDER_COL));
  a.put(CUBLASLT_MATRIX_LAYOUT_ROWS, rows);
  a.put(CUBLASLT_MATRIX_LAYOUT_COLS, columns);
  a.put(CUBLASLT_MATRIX_LAYOUT_LD, ld);
  a.put(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, int32_t{1});
  return keep(made, std::move(a));
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* made) {
  Attributes a;
  a.put(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{0});
  a.put(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, ~uint32_t{0});
  for (const auto alignment :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    a.put(alignment, uint32_t{256});
  }
  return keep(made, std::move(a));
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t x) { return end(x); }
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t x) { return end(x); }
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t x) { return end(x); }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t x,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  return set(x, attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t x,
                                              cublasLtMatmulDescAttributes_t attribute, void* value,
                                              size_t bytes, size_t* written) {
  return get(x, attribute, value, bytes, written);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t x,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  return set(x, attribute, value, bytes);
}

cublasStatus_t cublasLtMatrixLayoutGetAttribute(cublasLtMatrixLayout_t x,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                void* value, size_t bytes, size_t* written) {
  return get(x, attribute, value, bytes, written);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t x,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  return set(x, attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceGetAttribute(cublasLtMatmulPreference_t x,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    void* value, size_t bytes, size_t* written) {
  return get(x, attribute, value, bytes, written);
}
