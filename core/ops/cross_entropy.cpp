#include "core/ops/cross_entropy.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

constexpr int64_t most_columns = 1 << 30;  // kernels count them in 32 bits

void check_targets(std::string_view where, const Tensor& targets, int64_t rows, Device device) {
  check_dtype(where, "targets", targets, {DType::i32});
  check_shape(where, "targets", targets, {rows});
  check_contiguous(where, "targets", targets);
  check_device(where, "targets", targets, device);
}

void check_floats(std::string_view where, std::string_view name, const Tensor& t,
                  const Shape& shape, Device device) {
  check_dtype(where, name, t, {DType::f32});
  check_shape(where, name, t, shape);
  check_contiguous(where, name, t);
  check_device(where, name, t, device);
}

void check_scale(std::string_view where, const GradientScale& scale, Device device) {
  if (scale.loss_scale) check_floats(where, "loss_scale", scale.loss_scale, {1}, device);
}

void check_logits(std::string_view where, const Tensor& logits, const VocabularyPart& part) {
  check_rank(where, "logits", logits, 2);
  check_floating(where, "logits", logits);
  check_dense_last_axis(where, "logits", logits);
  check(logits.shape[1] <= most_columns, where,
        "logits has shape {}; at most {} columns are allowed", logits.shape.to_string(),
        most_columns);
  check(part.first_column >= 0, where, "first_column {} was given; 0 or more is allowed",
        part.first_column);
  check(part.valid_columns >= 0 && part.valid_columns <= logits.shape[1], where,
        "{} valid columns were given; 0 to {}, the columns of the logits, are allowed",
        part.valid_columns, logits.shape[1]);
}

}  // namespace

void cross_entropy_statistics(const Context& context, const Tensor& logits, const Tensor& targets,
                              const VocabularyPart& part, const Tensor& statistics) {
  constexpr std::string_view where = "cross_entropy_statistics";
  check_logits(where, logits, part);
  check_targets(where, targets, logits.shape[0], logits.device);
  check_floats(where, "statistics", statistics, {logits.shape[0], 3}, logits.device);
  on_device(logits.device, cpu::cross_entropy_statistics, cuda::cross_entropy_statistics)(
      context, logits, targets, part, statistics);
}

void cross_entropy_combine(const Context& context, const Tensor& statistics, const Tensor& targets,
                           const Tensor& log_sum, const Tensor& loss) {
  constexpr std::string_view where = "cross_entropy_combine";
  check_rank(where, "statistics", statistics, 3);
  check(statistics.shape[0] > 0, where, "statistics has shape {}; 1 part or more is allowed",
        statistics.shape.to_string());
  const int64_t rows = statistics.shape[1];
  check_floats(where, "statistics", statistics, {statistics.shape[0], rows, 3}, statistics.device);
  check_targets(where, targets, rows, statistics.device);
  check_floats(where, "log_sum", log_sum, {rows}, statistics.device);
  check_floats(where, "loss", loss, {rows}, statistics.device);
  on_device(statistics.device, cpu::cross_entropy_combine, cuda::cross_entropy_combine)(
      context, statistics, targets, log_sum, loss);
}

void cross_entropy_gradient(const Context& context, const Tensor& logits, const Tensor& targets,
                            const VocabularyPart& part, const Tensor& log_sum,
                            const GradientScale& scale) {
  constexpr std::string_view where = "cross_entropy_gradient";
  check_logits(where, logits, part);
  check_targets(where, targets, logits.shape[0], logits.device);
  check_floats(where, "log_sum", log_sum, {logits.shape[0]}, logits.device);
  check_scale(where, scale, logits.device);
  on_device(logits.device, cpu::cross_entropy_gradient, cuda::cross_entropy_gradient)(
      context, logits, targets, part, log_sum, scale);
}

void cross_entropy(const Context& context, const Tensor& logits, const Tensor& targets,
                   const VocabularyPart& part, const Tensor& loss, const GradientScale& scale) {
  constexpr std::string_view where = "cross_entropy";
  check_logits(where, logits, part);
  check(part.first_column == 0, where, "first_column {} was given; 0 is allowed",
        part.first_column);
  check_targets(where, targets, logits.shape[0], logits.device);
  check_floats(where, "loss", loss, {logits.shape[0]}, logits.device);
  check_scale(where, scale, logits.device);
  on_device(logits.device, cpu::cross_entropy, cuda::cross_entropy)(context, logits, targets, part,
                                                                    loss, scale);
}

}  // namespace switchyard::ops
