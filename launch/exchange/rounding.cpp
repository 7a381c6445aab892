#include "launch/exchange/rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace switchyard {

namespace {

template <class From, class To>
void convert_typed(const void* from, void* to, int64_t elements, const std::string& tensor,
                   RoundingLoss& loss) {
  const auto* in = static_cast<const From*>(from);
  auto* out = static_cast<To*>(to);
  for (int64_t i = 0; i < elements; ++i) {
    const auto before = static_cast<float>(in[i]);
    out[i] = static_cast<To>(before);
    const auto after = static_cast<float>(out[i]);
    if (after == before || std::isnan(before)) continue;
    check(std::isfinite(after), "convert",
          "'{}' has the number {}, which {} cannot hold; another --dtype is allowed", tensor,
          before, name_of(DTypeOf<To>::value));
    ++loss.rounded;
    if (after == 0) {
      ++loss.vanished;
      continue;
    }
    loss.largest = std::max(loss.largest, std::abs((static_cast<double>(after) - before) /
                                                   static_cast<double>(before)));
  }
}

template <class From>
void convert_from(const void* from, void* to, DType type, int64_t elements,
                  const std::string& tensor, RoundingLoss& loss) {
  switch (type) {
    case DType::f32:
      return convert_typed<From, float>(from, to, elements, tensor, loss);
    case DType::bf16:
      return convert_typed<From, bf16>(from, to, elements, tensor, loss);
    case DType::f16:
      return convert_typed<From, f16>(from, to, elements, tensor, loss);
    default:
      fail("convert", "'{}' was to become {}; f32, bf16 and f16 are allowed", tensor,
           name_of(type));
  }
}

}  // namespace

void convert_elements(const void* from, DType from_type, void* to, DType to_type, int64_t elements,
                      const std::string& tensor, RoundingLoss& loss) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<size_t>(elements * size_of(to_type)));
    return;
  }
  loss.elements += elements;
  switch (from_type) {
    case DType::f32:
      return convert_from<float>(from, to, to_type, elements, tensor, loss);
    case DType::bf16:
      return convert_from<bf16>(from, to, to_type, elements, tensor, loss);
    case DType::f16:
      return convert_from<f16>(from, to, to_type, elements, tensor, loss);
    default:
      fail("convert", "'{}' is of {}; f32, bf16 and f16 are allowed", tensor, name_of(from_type));
  }
}

std::string describe(const RoundingLoss& loss, DType dtype) {
  if (loss.rounded == 0) return "all numbers are kept exactly";
  const std::string vanished =
      loss.vanished == 0 ? "" : fmt::format("; {} of them become 0", loss.vanished);
  return fmt::format(
      "{} of {} converted numbers are rounded to {}, by at most {:.3g} of their size{}",
      loss.rounded, loss.elements, name_of(dtype), loss.largest, vanished);
}

}  // namespace switchyard
