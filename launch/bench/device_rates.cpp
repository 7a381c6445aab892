#include "launch/bench/device_rates.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/memory.h"
#include "core/ops/elementwise.h"
#include "launch/bench/matrix_rate.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

// Calls `body` until `seconds` have passed, in rounds that grow; returns calls a second.
template <class Body>
double calls_per_second(Stream& stream, double seconds, const Body& body) {
  body();
  stream.synchronize();
  int64_t calls = 0;
  const auto begin = Clock::now();
  double passed = 0;
  for (int64_t round = 1; passed < seconds; round = std::min<int64_t>(2 * round, 64)) {
    for (int64_t i = 0; i < round; ++i) body();
    stream.synchronize();
    calls += round;
    passed = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  return static_cast<double>(calls) / passed;
}

double copy_rate(ops::Context context, const DeviceRatesOptions& o) {
  const int64_t bytes = o.copy_mib << 20;
  const Memory from(bytes, o.device, "copied from"), to(bytes, o.device, "copied to");
  const double calls = calls_per_second(context.stream, std::min(o.seconds, 1.0), [&] {
    ops::copy(context, Tensor(from.data(), DType::u8, {bytes}, o.device),
              Tensor(to.data(), DType::u8, {bytes}, o.device));
  });
  return 2.0 * static_cast<double>(bytes) * calls;
}

double matrix_rate(ops::Context context, const DeviceRatesOptions& o, DType dtype) {
  constexpr int products = 4;  // between two waits of the host
  MatrixRate rate(o.size, dtype, o.device);
  return products * rate.operations() *
         calls_per_second(context.stream, o.seconds, [&] { rate.measure(context, products); });
}

}  // namespace

DeviceRates measure_device_rates(const DeviceRatesOptions& o) {
  check(o.size >= 1 && o.seconds > 0 && o.copy_mib >= 1, "rates",
        "--size {} --seconds {} --copy-mib {}; positive numbers are allowed", o.size, o.seconds,
        o.copy_mib);
  Stream stream(o.device);
  Scratch scratch(o.device);
  const ops::Context context{stream, scratch};
  DeviceRates rates;
  rates.copy_bytes_per_second = copy_rate(context, o);
  for (const DType dtype : o.dtypes) {
    rates.matrix.push_back({dtype, matrix_rate(context, o, dtype)});
  }
  return rates;
}

}  // namespace switchyard
