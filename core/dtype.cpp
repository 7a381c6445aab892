#include "core/dtype.h"

#include "core/error.h"

namespace switchyard {

int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::f64:
      return 8;
    case DType::i32:
      return 4;
    case DType::i64:
      return 8;
    case DType::u8:
      return 1;
    case DType::u16:
      return 2;
  }
  fail("dtype", "unknown dtype number {}", static_cast<int>(dtype));
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::f64:
      return "f64";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::u8:
      return "u8";
    case DType::u16:
      return "u16";
  }
  fail("dtype", "unknown dtype number {}", static_cast<int>(dtype));
}

DType dtype_named(std::string_view name) {
  for (auto dtype : {DType::f32, DType::bf16, DType::f16, DType::f64, DType::i32, DType::i64,
                     DType::u8, DType::u16}) {
    if (name_of(dtype) == name) return dtype;
  }
  fail("dtype", "'{}' is not a dtype; allowed: f32, bf16, f16, f64, i32, i64, u8, u16", name);
}

}  // namespace switchyard
