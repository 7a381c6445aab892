#include "model/rotary_percent.h"

#include <cmath>

namespace switchyard {

double rotary_percent_of(int64_t rotated, int64_t head_dim) {
  const auto channels = static_cast<double>(head_dim), wanted = static_cast<double>(rotated);
  double percent = wanted / channels;
  while (channels * percent < wanted) percent = std::nextafter(percent, 2.0);
  return percent;
}

}  // namespace switchyard
