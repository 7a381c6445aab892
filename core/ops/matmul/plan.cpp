#include "core/ops/matmul/plan.h"

#include <fmt/core.h>

#include "core/error.h"

namespace switchyard::ops {

namespace {

constexpr int widest_access = MatmulProduct::widest_access;
constexpr int64_t aux_multiple = 8;

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
  plan.a = {p.stored_columns_b(), p.stored_rows_b(), p.row_b, p.inputs, p.align_b};
  plan.b = {p.stored_columns_a(), p.stored_rows_a(), p.row_a, p.inputs, p.align_a};
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

std::vector<MatmulPlan> plans_of(const MatmulProduct& product, int64_t workspace_bytes,
                                 Fusion most) {
  std::vector<MatmulPlan> plans;
  for (const Fusion fusion : {Fusion::full, Fusion::bias, Fusion::none}) {
    if (fusion < most) continue;  // fuses more
    MatmulPlan plan = plan_matmul(product, fusion, workspace_bytes);
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
