#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/ops/context.h"
#include "core/random.h"

// What the tests of operators share: one body runs for every device and dtype and compares with a
// reference in float64. Values pass between host and device in `values` and `assign` alone.
namespace switchyard::ops::test {

struct Case {
  Device device;
  DType dtype;
};

inline std::vector<Device> devices() {
  if (is_available(Device::cuda)) return {Device::cpu, Device::cuda};
  return {Device::cpu};
}

// Each device with the floats it computes with.
inline std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Device device : devices()) {
    all.push_back({device, DType::f32});
    all.push_back({device, DType::bf16});
    if (device == Device::cuda) all.push_back({device, DType::f16});
  }
  return all;
}

inline std::string case_name(const testing::TestParamInfo<Case>& info) {
  return std::string(name_of(info.param.device)) + "_" + std::string(name_of(info.param.dtype));
}

// Half a unit in the last place: the relative error of storing a value in the dtype.
inline double rounding(DType dtype) {
  if (dtype == DType::bf16) return 0x1p-8;
  return dtype == DType::f16 ? 0x1p-11 : 0x1p-24;
}

// Row-major offsets of all elements of a view, in elements from its start.
inline std::vector<int64_t> offsets(const Tensor& t) {
  std::vector<int64_t> all{0};
  for (int axis = 0; axis < t.shape.rank(); ++axis) {
    std::vector<int64_t> next;
    next.reserve(all.size() * static_cast<size_t>(t.shape[axis]));
    for (const int64_t base : all) {
      for (int64_t i = 0; i < t.shape[axis]; ++i) {
        next.push_back(base + i * t.stride[static_cast<size_t>(axis)]);
      }
    }
    all.swap(next);
  }
  return all;
}

// The stream of the youngest Workbench: what values and assign are ordered with.
inline thread_local Stream* stream_at_work = nullptr;

// The memory that a view spans, on the host: itself on the CPU, else a copy that put_back()
// returns.
class HostView {
 public:
  explicit HostView(const Tensor& t) : original_(t), view_(t) {
    if (t.device == Device::cpu) return;
    int64_t last = 0;
    for (int axis = 0; axis < t.shape.rank(); ++axis) {
      last += (t.shape[axis] - 1) * t.stride[static_cast<size_t>(axis)];
    }
    copy_.resize(static_cast<size_t>(t.elements() == 0 ? 0 : (last + 1) * size_of(t.dtype)));
    view_.data = copy_.data();
    view_.device = Device::cpu;
    transfer(copy_.data(), t.data);
  }
  const Tensor& view() const { return view_; }
  void put_back() {
    if (original_.device != Device::cpu) transfer(original_.data, copy_.data());
  }

 private:
  void transfer(void* to, const void* from) {
    copy_bytes(to, from, static_cast<int64_t>(copy_.size()), *stream_at_work);
    stream_at_work->synchronize();
  }

  Tensor original_, view_;
  std::vector<std::byte> copy_;
};

// The elements of a view in row-major order; any strides.
inline std::vector<double> values(const Tensor& tensor) {
  const HostView host(tensor);
  const Tensor& t = host.view();
  std::vector<double> result;
  for (const int64_t at : offsets(t)) {
    if (t.dtype == DType::f32) {
      result.push_back(t.as<float>()[at]);
    } else if (t.dtype == DType::bf16) {
      result.push_back(static_cast<float>(t.as<bf16>()[at]));
    } else if (t.dtype == DType::f16) {
      result.push_back(static_cast<float>(t.as<f16>()[at]));
    } else if (t.dtype == DType::f64) {
      result.push_back(t.as<double>()[at]);
    } else if (t.dtype == DType::i32) {
      result.push_back(t.as<int32_t>()[at]);
    } else {
      result.push_back(static_cast<double>(t.as<int64_t>()[at]));
    }
  }
  return result;
}

inline void assign(const Tensor& tensor, const std::vector<double>& from) {
  HostView host(tensor);
  const Tensor& t = host.view();
  size_t next = 0;
  for (const int64_t at : offsets(t)) {
    const double value = from.at(next++);
    if (t.dtype == DType::f32) {
      t.as<float>()[at] = static_cast<float>(value);
    } else if (t.dtype == DType::bf16) {
      t.as<bf16>()[at] = bf16(static_cast<float>(value));
    } else if (t.dtype == DType::f16) {
      t.as<f16>()[at] = f16(static_cast<float>(value));
    } else if (t.dtype == DType::f64) {
      t.as<double>()[at] = value;
    } else if (t.dtype == DType::i32) {
      t.as<int32_t>()[at] = static_cast<int32_t>(value);
    } else {
      t.as<int64_t>()[at] = static_cast<int64_t>(value);
    }
  }
  host.put_back();
}

// |value - reference| <= absolute + relative * |reference| for every element.
inline void expect_near(const std::vector<double>& actual, const std::vector<double>& reference,
                        double relative, double absolute, const std::string& what = "") {
  ASSERT_EQ(actual.size(), reference.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double allowed = absolute + relative * std::abs(reference[i]);
    ASSERT_LE(std::abs(actual[i] - reference[i]), allowed)
        << what << " element " << i << ": " << actual[i] << " instead of " << reference[i];
  }
}

// Expects an Error whose message has `part` in it.
template <class Call>
void expect_error(const Call& call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "no error; expected one with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

// Tensors in memory of their own, and a context to run operators with.
class Workbench {
 public:
  explicit Workbench(Device device = Device::cpu)
      : device_(device), stream_(device), scratch_(device), context_{stream_, scratch_} {
    stream_at_work = &stream_;
  }

  const Context& context() const { return context_; }

  Tensor zeros(const Shape& shape, DType dtype) {
    const int64_t bytes = std::max<int64_t>(1, shape.elements()) * size_of(dtype);
    memory_.push_back(std::make_unique<Memory>(bytes, device_, "test tensor"));
    return Tensor(memory_.back()->data(), dtype, shape, device_);
  }

  // Rows (all axes but the last together) that lie `gap` elements further apart than they are long.
  Tensor strided(const Shape& shape, DType dtype, int64_t gap) {
    const int last = shape.rank() - 1;
    Shape wide = shape;
    wide[last] += gap;
    return zeros(wide, dtype).slice(last, 0, shape[last]);
  }

  // Normal numbers times `scale`, other ones for each tensor of a test, the same in every run.
  void randomize(const Tensor& t, double scale = 1.0) {
    const RandomKey key{17, 0, ++random_tensors_};
    std::vector<double> numbers(static_cast<size_t>(t.elements()));
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = scale * random_normal(key, i);
    assign(t, numbers);
  }

  Tensor random(const Shape& shape, DType dtype, double scale = 1.0) {
    const Tensor t = zeros(shape, dtype);
    randomize(t, scale);
    return t;
  }

  Tensor holding(const std::vector<double>& numbers, const Shape& shape, DType dtype) {
    const Tensor t = zeros(shape, dtype);
    assign(t, numbers);
    return t;
  }

  void wait() { stream_.synchronize(); }

 private:
  Device device_;
  Stream stream_;
  Scratch scratch_;
  Context context_;
  std::vector<std::unique_ptr<Memory>> memory_;
  uint32_t random_tensors_ = 0;
};

// The fixture: INSTANTIATE_TEST_SUITE_P(All, NormTest, testing::ValuesIn(cases()), case_name).
class OpTest : public testing::TestWithParam<Case> {
 protected:
  Device device() const { return GetParam().device; }
  DType dtype() const { return GetParam().dtype; }
  const Context& context() const { return bench.context(); }

  Workbench bench{GetParam().device};
};

}  // namespace switchyard::ops::test
