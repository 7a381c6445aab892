#include "core/ops/update_control.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

constexpr std::string_view where = "update_control";

void check_vector(std::string_view name, const Tensor& t, DType dtype, int64_t elements,
                  Device device) {
  check_dtype(where, name, t, {dtype});
  check_shape(where, name, t, {elements});
  check_contiguous(where, name, t);
  check_device(where, name, t, device);
}

}  // namespace

void update_control(const Context& context, const UpdateControl& t,
                    const UpdateControlOptions& options) {
  const Device device = t.totals.device;
  check_vector("totals", t.totals, DType::f64, total_count, device);
  check_vector("learning_rate", t.learning_rate, DType::f64, 1, device);
  check_vector("counters", t.counters, DType::i64, counter_count, device);
  check_vector("loss_scale", t.loss_scale, DType::f32, 1, device);
  check_vector("scalars", t.scalars, DType::f32, adamw_scalar_count, device);
  check_vector("report", t.report, DType::f64, report_count, device);
  on_device(device, cpu::update_control, cuda::update_control)(context, t, options);
}

}  // namespace switchyard::ops
