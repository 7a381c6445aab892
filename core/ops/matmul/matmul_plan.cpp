#include "core/ops/matmul/matmul_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace switchyard::ops {

namespace {

constexpr int widest_access = 16;  // bytes
constexpr int64_t aux_multiple = 8;

int alignment_of(const void* address) {
  const auto bits = std::bit_cast<uintptr_t>(address);
  if (bits == 0) return widest_access;
  return 1 << std::min(std::countr_zero(bits), std::countr_zero(unsigned{widest_access}));
}

// A matrix of one row may have any step between rows: one that suits every kernel.
int64_t row_step(const Tensor& t) {
  if (t.shape[0] > 1) return t.stride[0];
  return (t.shape[1] + aux_multiple - 1) / aux_multiple * aux_multiple;
}

int64_t stored_columns_a(const MatmulProduct& p) { return p.transpose_a ? p.m : p.k; }
int64_t stored_columns_b(const MatmulProduct& p) { return p.transpose_b ? p.k : p.n; }

Epilogue whole_epilogue(const MatmulProduct& p) {
  if (p.gelu_input) return p.bias ? Epilogue::gelu_aux_bias : Epilogue::gelu_aux;
  if (p.gelu_gradient) return Epilogue::dgelu;
  if (p.row_sums) return Epilogue::bgradb;
  return p.bias ? Epilogue::bias : Epilogue::none;
}

// The rule that keeps a gelu out of the product; empty without one. The dtypes are those that
// cuBLASLt's tensor-core kernels know, the leading dimension is cublasLt.h's condition for
// CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD.
std::string why_no_gelu(const MatmulProduct& p) {
  if (p.inputs == DType::f32 || p.output != p.inputs) {
    return fmt::format("gelu epilogues take 16-bit inputs and outputs, not {} to {}",
                       name_of(p.inputs), name_of(p.output));
  }
  if (p.row_gelu % aux_multiple != 0) {
    return fmt::format("rows of the gelu's input lie {} elements apart, no multiple of {}",
                       p.row_gelu, aux_multiple);
  }
  if (p.align_gelu < widest_access) {
    return fmt::format("the gelu's input is aligned to {} bytes, not to {}", p.align_gelu,
                       widest_access);
  }
  return {};
}

// The epilogue writes the bias gradient in D's dtype: only f32 keeps fp32 sums.
std::string why_no_row_sums(const MatmulProduct& p) {
  if (p.output == DType::f32) return {};
  return fmt::format("the bias gradient would be rounded to {}", name_of(p.output));
}

std::string why_not_whole(const MatmulProduct& p) {
  if (p.gelu_input || p.gelu_gradient) return why_no_gelu(p);
  return p.row_sums ? why_no_row_sums(p) : std::string();
}

void choose_epilogue(MatmulPlan& plan, Fusion most) {
  const MatmulProduct& p = plan.product;
  const Epilogue whole = whole_epilogue(p);
  plan.why_behind = why_not_whole(p);
  const bool full = most == Fusion::full && plan.why_behind.empty();
  const bool bias = p.bias && most != Fusion::none;
  plan.fusion = full || whole == Epilogue::none ? Fusion::full : Fusion::none;
  if (!full && bias) plan.fusion = p.gelu_input ? Fusion::bias : Fusion::full;
  if (plan.fusion == Fusion::full) plan.epilogue = whole;
  if (plan.fusion == Fusion::bias) plan.epilogue = Epilogue::bias;
  const bool behind = plan.fusion != Fusion::full;
  plan.bias_behind = p.bias && plan.epilogue == Epilogue::none;
  plan.gelu_behind = p.gelu_input && behind;
  plan.gelu_gradient_behind = p.gelu_gradient && behind;
  plan.row_sums_behind = p.row_sums && behind;
  if (!behind && (p.gelu_input || p.gelu_gradient)) plan.ld_aux = p.row_gelu;
}

std::string describe(const MatmulPlan::Matrix& x, bool transposed, std::string_view name) {
  return fmt::format("{}{} [{}, {}] {} ld {}", name, transposed ? "^T" : "", x.rows, x.columns,
                     name_of(x.dtype), x.ld);
}

}  // namespace

MatmulProduct MatmulProduct::dense() const {
  MatmulProduct p = *this;
  p.row_a = stored_columns_a(p);
  p.row_b = stored_columns_b(p);
  p.row_c = n;
  p.row_gelu = gelu_input || gelu_gradient ? n : 0;
  return p;
}

double MatmulProduct::operations() const {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

std::string_view MatmulProduct::pass() const {
  if (transpose_a) return "weight gradient";
  return transpose_b ? "forward" : "input gradient";
}

std::string MatmulProduct::to_string() const {
  std::string text =
      fmt::format("[{}, {}]{} x [{}, {}]{} of {} {} {}", m, k, transpose_a ? " transposed" : "", k,
                  n, transpose_b ? " transposed" : "", name_of(inputs),
                  accumulate ? "added to" : "to", name_of(output));
  if (bias) text += ", bias";
  if (gelu_input) text += ", gelu";
  if (gelu_gradient) text += ", gelu gradient";
  if (row_sums) text += ", bias gradient";
  if (tf32) text += ", TF32";
  return text;
}

MatmulProduct describe_product(const Tensor& a, const Tensor& b, const Tensor& c,
                               const MatmulOptions& options, bool allow_tf32) {
  MatmulProduct p;
  p.m = c.shape[0];
  p.n = c.shape[1];
  p.k = a.shape[options.transpose_a ? 0 : 1];
  p.row_a = row_step(a);
  p.row_b = row_step(b);
  p.row_c = row_step(c);
  p.inputs = a.dtype;
  p.output = c.dtype;
  p.transpose_a = options.transpose_a;
  p.transpose_b = options.transpose_b;
  p.accumulate = options.accumulate;
  p.bias = static_cast<bool>(options.bias);
  p.gelu_input = static_cast<bool>(options.gelu_input);
  p.gelu_gradient = static_cast<bool>(options.gelu_gradient);
  p.row_sums = static_cast<bool>(options.row_sums);
  p.tf32 = allow_tf32 && a.dtype == DType::f32;
  p.align_a = alignment_of(a.data);
  p.align_b = alignment_of(b.data);
  p.align_c = alignment_of(c.data);
  if (p.gelu_input || p.gelu_gradient) {
    const Tensor& gelu = p.gelu_input ? options.gelu_input : options.gelu_gradient;
    p.row_gelu = row_step(gelu);
    p.align_gelu = alignment_of(gelu.data);
  }
  return p;
}

std::string_view name_of(Fusion fusion) {
  if (fusion == Fusion::full) return "full";
  return fusion == Fusion::bias ? "bias" : "none";
}

Fusion fusion_named(std::string_view name) {
  for (const Fusion fusion : {Fusion::full, Fusion::bias, Fusion::none}) {
    if (name_of(fusion) == name) return fusion;
  }
  fail("matmul", "'{}' is no fusion; allowed: full, bias, none", name);
}

std::string_view name_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return "DEFAULT";
    case Epilogue::bias:
      return "BIAS";
    case Epilogue::gelu_aux:
      return "GELU_AUX";
    case Epilogue::gelu_aux_bias:
      return "GELU_AUX_BIAS";
    case Epilogue::dgelu:
      return "DGELU";
    case Epilogue::bgradb:
      return "BGRADB";
  }
  return "?";
}

// The product of a gelu that is done behind it goes where the gelu's input is saved.
MatmulPlan plan_matmul(const MatmulProduct& product, Fusion most, int64_t workspace_bytes) {
  const MatmulProduct& p = product;
  MatmulPlan plan;
  plan.product = p;
  plan.workspace_bytes = workspace_bytes;
  choose_epilogue(plan, most);
  plan.rows = p.n;
  plan.columns = p.m;
  plan.inner = p.k;
  plan.a = {stored_columns_b(p), p.stored_rows_b(), p.row_b, p.inputs, p.align_b};
  plan.b = {stored_columns_a(p), p.stored_rows_a(), p.row_a, p.inputs, p.align_a};
  plan.d = {p.n, p.m, p.row_c, p.output, p.align_c};
  if (plan.gelu_behind) {
    plan.d.ld = p.row_gelu;
    plan.d.alignment = p.align_gelu;
  }
  plan.transpose_a = p.transpose_b;
  plan.transpose_b = p.transpose_a;
  plan.beta = p.accumulate ? 1.0f : 0.0f;
  return plan;
}

std::vector<MatmulPlan> plans_of(const MatmulProduct& product, int64_t workspace_bytes) {
  std::vector<MatmulPlan> plans;
  for (const Fusion most : {Fusion::full, Fusion::bias, Fusion::none}) {
    MatmulPlan plan = plan_matmul(product, most, workspace_bytes);
    if (plans.empty() || plans.back().fusion != plan.fusion) plans.push_back(std::move(plan));
  }
  return plans;
}

std::string MatmulPlan::twin() const {
  std::string text;
  if (bias_behind) text += " bias";
  if (gelu_behind) text += " gelu";
  if (gelu_gradient_behind) text += " gelu gradient";
  if (row_sums_behind) text += " bias gradient";
  return text;
}

std::string MatmulPlan::brief() const {
  return fmt::format("{} {}, fusion {} ({}){}{}", product.pass(), product.to_string(),
                     name_of(fusion), name_of(epilogue), behind() ? ", then" : "", twin());
}

std::string MatmulPlan::to_string() const {
  std::string text = fmt::format("D [{}, {}] {} ld {} = {} x {}, beta {}, {}", rows, columns,
                                 switchyard::name_of(d.dtype), d.ld, describe(a, transpose_a, "A"),
                                 describe(b, transpose_b, "B"), beta, name_of(epilogue));
  if (ld_aux != 0) text += fmt::format(", aux ld {}", ld_aux);
  if (behind()) text += ", then" + twin();
  if (!why_behind.empty()) text += fmt::format(" ({})", why_behind);
  return text;
}

}  // namespace switchyard::ops
