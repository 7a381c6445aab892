#include "core/ops/averaging.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

void check_flat(std::string_view where, std::string_view name, const Tensor& t, DType dtype,
                const Tensor& like) {
  check_dtype(where, name, t, {dtype});
  check_contiguous(where, name, t);
  check(t.elements() == like.elements(), where, "{} has {} elements; {} are allowed", name,
        t.elements(), like.elements());
  check_device(where, name, t, like.device);
}

void check_count(std::string_view where, int64_t count, int64_t most) {
  check(count >= 1 && count <= most, where, "a mean of {}; 1 to {} are allowed", count, most);
}

}  // namespace

void move_towards(const Context& context, const Tensor& x, double share, const Tensor& mean) {
  check_flat("move_towards", "x", x, DType::f32, mean);
  check_flat("move_towards", "mean", mean, DType::f32, mean);
  check(share >= 0 && share <= 1, "move_towards", "a share of {}; 0 to 1 is allowed", share);
  on_device(mean.device, cpu::move_towards, cuda::move_towards)(context, x, share, mean);
}

void add_to_sum(const Context& context, const Tensor& x, const Tensor& sum) {
  check_flat("add_to_sum", "x", x, DType::f32, sum);
  check_flat("add_to_sum", "sum", sum, DType::f64, sum);
  on_device(sum.device, cpu::add_to_sum, cuda::add_to_sum)(context, x, sum);
}

void mean_of_sum(const Context& context, const Tensor& sum, int64_t count, const Tensor& mean) {
  check_flat("mean_of_sum", "sum", sum, DType::f64, mean);
  check_flat("mean_of_sum", "mean", mean, DType::f32, mean);
  check_count("mean_of_sum", count, INT64_MAX);
  on_device(mean.device, cpu::mean_of_sum, cuda::mean_of_sum)(context, sum, count, mean);
}

void mean_of_ring(const Context& context, const Tensor& ring, int64_t first, int64_t count,
                  const Tensor& mean) {
  check_rank("mean_of_ring", "ring", ring, 2);
  check_dtype("mean_of_ring", "ring", ring, {DType::f32});
  check_contiguous("mean_of_ring", "ring", ring);
  check_flat("mean_of_ring", "mean", mean, DType::f32, mean);
  check_shape("mean_of_ring", "ring", ring, {ring.shape[0], mean.elements()});
  check_device("mean_of_ring", "ring", ring, mean.device);
  check_count("mean_of_ring", count, ring.shape[0]);
  check(first >= 0 && first < ring.shape[0], "mean_of_ring",
        "a first row of {}; 0 to {} is allowed", first, ring.shape[0] - 1);
  on_device(mean.device, cpu::mean_of_ring, cuda::mean_of_ring)(context, ring, first, count, mean);
}

}  // namespace switchyard::ops
