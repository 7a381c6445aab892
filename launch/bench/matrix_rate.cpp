#include "launch/bench/matrix_rate.h"

#include <algorithm>
#include <chrono>

#include "core/ops/elementwise.h"
#include "core/ops/matmul/matmul.h"
#include "core/random.h"

namespace switchyard {

namespace {

// Random numbers, made on the host.
void fill_random(const Tensor& x, const char* name) {
  const RandomKey key{0, 0, random_purpose(name)};
  Stream host, stream(x.device);
  Scratch scratch;
  Scratch::Scope scope(scratch);
  Tensor numbers = scope.allocate(x.shape, DType::f32);
  auto values = numbers.span<float>();
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < values.size(); ++i) values[i] = random_uniform(key, i) - 0.5f;
  if (x.dtype != DType::f32) {
    const Tensor rounded = scope.allocate(x.shape, x.dtype);
    ops::cast({host, scratch}, numbers, rounded);
    numbers = rounded;
  }
  copy_bytes(x.data, numbers.data, x.bytes(), stream);
  stream.synchronize();
}

}  // namespace

MatrixRate::MatrixRate(int64_t size, DType dtype, Device device)
    : product_(ops::MatmulProduct::input_gradient(size, size, size, dtype)),
      arena_("matrix rate", 3 * Arena::footprint({size, size}, dtype), device) {
  a_ = arena_.allocate({size, size}, dtype, "a");
  b_ = arena_.allocate({size, size}, dtype, "b");
  c_ = arena_.allocate({size, size}, dtype, "c");
  fill_random(a_, "matrix rate a");
  fill_random(b_, "matrix rate b");
}

double MatrixRate::measure(ops::Context context, int products) {
  using Clock = std::chrono::steady_clock;
  context.stream.synchronize();
  const auto start = Clock::now();
  for (int i = 0; i < products; ++i) ops::matmul(context, a_, b_, c_);
  context.stream.synchronize();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double rate = products * product_.operations() / seconds;
  best_ = std::max(best_, rate);
  return rate;
}

}  // namespace switchyard
