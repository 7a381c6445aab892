#include "launch/matrix_rate.h"

#include <algorithm>
#include <chrono>

#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/random.h"

namespace switchyard {

namespace {

void fill_random(ops::Context context, const Tensor& x, const char* name) {
  const RandomKey key{0, 0, random_purpose(name)};
  Scratch::Scope scope(context.scratch);
  const Tensor numbers = scope.allocate(x.shape, DType::f32);
  auto values = numbers.span<float>();
  for (size_t i = 0; i < values.size(); ++i) values[i] = random_uniform(key, i) - 0.5f;
  if (x.dtype == DType::f32) {
    ops::copy(context, numbers, x);
  } else {
    ops::cast(context, numbers, x);
  }
}

}  // namespace

MatrixRate::MatrixRate(int64_t size, DType dtype)
    : size_(size), arena_("matrix rate", 3 * Arena::footprint({size, size}, dtype)) {
  a_ = arena_.allocate({size, size}, dtype, "a");
  b_ = arena_.allocate({size, size}, dtype, "b");
  c_ = arena_.allocate({size, size}, dtype, "c");
  Stream stream;
  Scratch scratch;
  fill_random({stream, scratch}, a_, "matrix rate a");
  fill_random({stream, scratch}, b_, "matrix rate b");
}

double MatrixRate::measure(ops::Context context) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  ops::matmul(context, a_, b_, c_);
  context.stream.synchronize();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double rate = operations(size_) / seconds;
  best_ = std::max(best_, rate);
  return rate;
}

}  // namespace switchyard
