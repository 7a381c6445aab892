#include "core/error.h"
#include "core/ops/backends.h"

// Linked in place of the CUDA backend where a build has none.
namespace switchyard::ops::cuda {

namespace {

[[noreturn]] void missing(std::string_view name) {
  fail(name, "this build has no CUDA: {} takes tensors on the cpu only", name);
}

}  // namespace

void matmul(const Context&, const Tensor&, const Tensor&, const Tensor&, const MatmulOptions&) {
  missing("matmul");
}

void attention_forward(const Context&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                       const Tensor&, const AttentionOptions&) {
  missing("attention_forward");
}

void attention_backward(const Context&, const AttentionBackward&, const AttentionOptions&) {
  missing("attention_backward");
}

void prepare_attention(const Context&, const AttentionBackward&, const AttentionOptions&) {
  missing("prepare_attention");
}

void residual_norm_forward(const Context&, const ResidualNorm&) {
  missing("residual_norm_forward");
}

void residual_norm_backward(const Context&, const ResidualNormBackward&) {
  missing("residual_norm_backward");
}

void dropout(const Context&, const Tensor&, const Tensor&, const Dropout&) { missing("dropout"); }

void activation_forward(const Context&, Activation, const Tensor&, const Tensor&) {
  missing("activation_forward");
}

void activation_backward(const Context&, Activation, const Tensor&, const Tensor&, const Tensor&) {
  missing("activation_backward");
}

void rotary_table(const Tensor&, std::span<const double>) { missing("rotary_table"); }

void rotary(const Context&, const Tensor&, const Tensor&, const Tensor&, bool) {
  missing("rotary");
}

void embedding_forward(const Context&, const Tensor&, const Tensor&, int64_t, const Tensor&) {
  missing("embedding_forward");
}

void embedding_backward(const Context&, const Tensor&, const Tensor&, int64_t, const Tensor&) {
  missing("embedding_backward");
}

void position_embedding_forward(const Context&, const Tensor&, int64_t, const Tensor&) {
  missing("position_embedding_forward");
}

void position_embedding_backward(const Context&, const Tensor&, int64_t, const Tensor&) {
  missing("position_embedding_backward");
}

void cross_entropy_statistics(const Context&, const Tensor&, const Tensor&, const VocabularyPart&,
                              const Tensor&) {
  missing("cross_entropy_statistics");
}

void cross_entropy_combine(const Context&, const Tensor&, const Tensor&, const Tensor&,
                           const Tensor&) {
  missing("cross_entropy_combine");
}

void cross_entropy_gradient(const Context&, const Tensor&, const Tensor&, const VocabularyPart&,
                            const Tensor&, const GradientScale&) {
  missing("cross_entropy_gradient");
}

void cross_entropy(const Context&, const Tensor&, const Tensor&, const VocabularyPart&,
                   const Tensor&, const GradientScale&) {
  missing("cross_entropy");
}

void adamw(const Context&, const AdamWTensors&, const Tensor&, const AdamWOptions&) {
  missing("adamw");
}

void move_towards(const Context&, const Tensor&, double, const Tensor&) { missing("move_towards"); }

void add_to_sum(const Context&, const Tensor&, const Tensor&) { missing("add_to_sum"); }

void mean_of_sum(const Context&, const Tensor&, int64_t, const Tensor&) { missing("mean_of_sum"); }

void mean_of_ring(const Context&, const Tensor&, int64_t, int64_t, const Tensor&) {
  missing("mean_of_ring");
}

void fill(const Context&, const Tensor&, float) { missing("fill"); }

void copy(const Context&, const Tensor&, const Tensor&) { missing("copy"); }

void cast(const Context&, const Tensor&, const Tensor&) { missing("cast"); }

void add(const Context&, const Tensor&, const Tensor&, const Tensor&) { missing("add"); }

void column_sum(const Context&, const Tensor&, const Tensor&) { missing("column_sum"); }

void iota(const Context&, const Tensor&, int64_t) { missing("iota"); }

void sum_of_squares(const Context&, const Tensor&, const Tensor&) { missing("sum_of_squares"); }

void sum(const Context&, const Tensor&, const Tensor&) { missing("sum"); }

void update_control(const Context&, const UpdateControl&, const UpdateControlOptions&) {
  missing("update_control");
}

}  // namespace switchyard::ops::cuda
