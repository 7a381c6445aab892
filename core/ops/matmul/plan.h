#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/ops/matmul/product.h"

// What a product becomes on a GPU, told without one: pure functions of shapes, dtypes and
// alignments. cuda.cpp makes cuBLASLt's descriptors from a plan and nothing else.
namespace switchyard::ops {

// How much of what follows the product is asked of cuBLASLt: everything; of a bias and a gelu the
// bias alone; nothing. What is not, is done behind the product by kernels of our own (its twin).
enum class Fusion : uint8_t { full, bias, none };
std::string_view name_of(Fusion fusion);
Fusion fusion_named(std::string_view name);  // throws Error for an unknown name

// cuBLASLt's epilogues that are used. DGELU with a bias gradient is not among them: its sums would
// be rounded to bf16.
enum class Epilogue : uint8_t { none, bias, gelu_aux, gelu_aux_bias, dgelu, bgradb };
std::string_view name_of(Epilogue epilogue);  // cuBLASLt's: "GELU_AUX_BIAS"

// In cuBLASLt's terms, which are column-major: a row-major matrix is its own transpose there, so
// D = op(A) op(B) + beta C holds c's transpose, A is b and B is a. C and D are one matrix.
struct MatmulPlan {
  struct Matrix {
    int64_t rows = 0, columns = 0;  // as stored
    int64_t ld = 0;                 // elements between columns
    DType dtype = DType::f32;
    int alignment = 16;  // bytes
  };

  MatmulProduct product;
  Fusion fusion = Fusion::full;
  int64_t rows = 0, columns = 0, inner = 0;  // D is [rows, columns]
  Matrix a, b, d;
  bool transpose_a = false, transpose_b = false;
  float beta = 0;
  Epilogue epilogue = Epilogue::none;
  int64_t ld_aux = 0;  // of a gelu's input
  // The twin: what is done behind the product, in this order.
  bool bias_behind = false, gelu_behind = false, gelu_gradient_behind = false;
  bool row_sums_behind = false;
  std::string why_behind;       // the rule that forbids the epilogue; empty where none does
  int64_t workspace_bytes = 0;  // at most

  // Whether the epilogue reads a bias or writes a bias gradient.
  bool takes_vector() const {
    return epilogue == Epilogue::bias || epilogue == Epilogue::gelu_aux_bias ||
           epilogue == Epilogue::bgradb;
  }
  bool behind() const {
    return bias_behind || gelu_behind || gelu_gradient_behind || row_sums_behind;
  }
  std::string to_string() const;  // "D [3072, 8192] = A^T [768, 3072] ..."
  // For a line of a profile: pass, shape, fusion and the twin by the names of its parts.
  std::string brief() const;
  std::string twin() const;  // " bias gelu"; empty where nothing is done behind the product
};

// The plan that takes no more fusion than `most`: less of it where a rule of cuBLASLt forbids more.
MatmulPlan plan_matmul(const MatmulProduct& product, Fusion most, int64_t workspace_bytes);

// The different plans of a product that take no more fusion than `most`, from the most fused to the
// least.
std::vector<MatmulPlan> plans_of(const MatmulProduct& product, int64_t workspace_bytes,
                                 Fusion most = Fusion::full);

}  // namespace switchyard::ops
