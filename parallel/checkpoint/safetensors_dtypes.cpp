#include "parallel/checkpoint/safetensors_dtypes.h"

#include <fmt/format.h>
#include <algorithm>

#include <array>

#include "core/error.h"
#include "parallel/checkpoint/strict_json.h"

namespace switchyard {

namespace {

constexpr const char* where = "safetensors";

struct FormatType {
  std::string_view name;
  int64_t bytes = 0;  // of an element; 0: less than one
};
constexpr std::array<FormatType, 22> format_types = {{
    {"BOOL", 1},        {"U8", 1},          {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
    {"F8_E8M0", 1},     {"I16", 2},         {"U16", 2}, {"F16", 2},     {"BF16", 2},
    {"I32", 4},         {"U32", 4},         {"F32", 4}, {"C64", 8},     {"F64", 8},
    {"I64", 8},         {"U64", 8},         {"F4", 0},  {"F6_E2M3", 0}, {"F6_E3M2", 0},
    {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1},
}};

struct WeightType {
  std::string_view name;
  DType dtype = DType::f32;
};
constexpr std::array<WeightType, 3> weight_types = {
    {{"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16}}};

}  // namespace

int64_t checked_bytes(const SafetensorsEntry& tensor, const std::string& file) {
  const auto* type = std::ranges::find(format_types, tensor.dtype, &FormatType::name);
  if (type == format_types.end()) {
    fail(where, "{}: tensor {} has the unknown dtype {}", file, in_quotes(tensor.name),
         in_quotes(tensor.dtype));
  }
  if (type->bytes == 0) {
    fail(where, "{}: tensor {} is of {}; elements of less than a byte cannot be read", file,
         in_quotes(tensor.name), tensor.dtype);
  }
  int64_t bytes = type->bytes;
  bool fits = true;
  for (const int64_t axis : tensor.shape) {
    if (axis > 0) fits = fits && !__builtin_mul_overflow(bytes, axis, &bytes);
  }
  if (!fits) {
    fail(where, "{}: tensor {} of {} {} has 2^63 bytes or more", file, in_quotes(tensor.name),
         tensor.dtype, shape_text(tensor));
  }
  return std::ranges::find(tensor.shape, 0) == tensor.shape.end() ? bytes : 0;
}

std::string_view safetensors_name(DType dtype) {
  const auto* type = std::ranges::find(weight_types, dtype, &WeightType::dtype);
  check(type != weight_types.end(), where, "weights of {} cannot be written; f32, f16 and bf16 can",
        name_of(dtype));
  return type->name;
}

std::optional<DType> weight_dtype(const SafetensorsEntry& entry) {
  const auto* type = std::ranges::find(weight_types, entry.dtype, &WeightType::name);
  if (type == weight_types.end()) return std::nullopt;
  return type->dtype;
}

std::string shape_text(const SafetensorsEntry& entry) {
  return fmt::format("[{}]", fmt::join(entry.shape, ", "));
}

}  // namespace switchyard
