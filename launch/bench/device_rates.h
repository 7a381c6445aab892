#pragma once

#include <cstdint>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"

namespace switchyard {

// What a device gives at most, measured with this program's own operators: the yardsticks beside
// which every other figure is read.
struct DeviceRates {
  double copy_bytes_per_second = 0;  // bytes read plus bytes written
  struct Matrix {
    DType dtype = DType::f32;
    double operations_per_second = 0;  // sustained: all products over all seconds
  };
  std::vector<Matrix> matrix;
};

struct DeviceRatesOptions {
  Device device = Device::cpu;
  int64_t size = 8192;      // of square matrices of random numbers
  double seconds = 5;       // that each dtype's products last at least
  int64_t copy_mib = 1024;  // of each of the two buffers
  std::vector<DType> dtypes = {DType::f32, DType::bf16};
};

DeviceRates measure_device_rates(const DeviceRatesOptions& options);

}  // namespace switchyard
