#include "tests/emulated_cuda/inexact.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

namespace emulated {

namespace {

enum class Errors : uint8_t { none, up, down, mixed };

Errors errors() {
  static const Errors chosen = [] {
    const char* text = std::getenv("SWITCHYARD_EMULATED_ERRORS");
    const std::string name = text == nullptr ? "" : text;
    return name == "up"      ? Errors::up
           : name == "down"  ? Errors::down
           : name == "mixed" ? Errors::mixed
                             : Errors::none;
  }();
  return chosen;
}

// Of the result's bits alone, so that the same arguments have the same results; -1 to 1.
double mixed_error(float nearest) {
  const uint32_t hash = std::bit_cast<uint32_t>(nearest) * 2654435761u;
  return 2 * (static_cast<double>(hash >> 8) / static_cast<double>(0xffffff)) - 1;
}

}  // namespace

float inexact(double exact, double ulps) {
  const auto nearest = static_cast<float>(exact);
  const Errors kind = errors();
  if (kind == Errors::none || !std::isfinite(nearest)) return nearest;
  if (nearest == 0 || std::abs(nearest) == 1 || nearest == 2) return nearest;
  const float size = std::abs(nearest);
  const double ulp = double{std::nextafter(size, std::numeric_limits<float>::infinity())} - size;
  const double error = kind == Errors::up ? 1 : kind == Errors::down ? -1 : mixed_error(nearest);
  // Rounding adds half a unit.
  const double moved = std::abs(exact) + error * (ulps - 0.5) * ulp;
  return static_cast<float>(std::copysign(std::max(moved, 0.0), exact));
}

}  // namespace emulated
