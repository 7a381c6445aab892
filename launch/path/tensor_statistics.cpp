#include "launch/path/tensor_statistics.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <type_traits>

#include "parallel/checkpoint/read_checks.h"

namespace switchyard {

namespace {

template <class T>
double number(T value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<double>(value);
  } else {
    return static_cast<float>(value);
  }
}

// Every eighth element goes to the same lane, so that the compiler uses vectors without changing
// the order of a sum.
struct Lanes {
  static constexpr int count = 8;
  double squares[count] = {}, min[count], max[count];
  int64_t nans[count] = {}, infinities[count] = {};

  Lanes() {
    const TensorStatistics none;
    std::ranges::fill(min, none.min);
    std::ranges::fill(max, none.max);
  }
  void add(int lane, double x) {
    const bool is_nan = x != x, is_finite = x - x == 0;
    const double finite = is_finite ? x : 0;
    const double low = is_finite ? x : std::numeric_limits<double>::infinity();
    const double high = is_finite ? x : -std::numeric_limits<double>::infinity();
    squares[lane] += finite * finite;
    min[lane] = low < min[lane] ? low : min[lane];
    max[lane] = high > max[lane] ? high : max[lane];
    nans[lane] += is_nan ? 1 : 0;
    infinities[lane] += is_nan || is_finite ? 0 : 1;
  }
};

template <class T>
TensorStatistics statistics_as(const char* data, int64_t elements) {
  Lanes lanes;
  int64_t at = 0;
  for (; at + Lanes::count <= elements; at += Lanes::count) {
    T values[Lanes::count];
    std::memcpy(values, data + at * static_cast<int64_t>(sizeof(T)), sizeof(values));
    for (int lane = 0; lane < Lanes::count; ++lane) lanes.add(lane, number(values[lane]));
  }
  for (int lane = 0; at < elements; ++at, ++lane) {
    T value;
    std::memcpy(&value, data + at * static_cast<int64_t>(sizeof(T)), sizeof(T));
    lanes.add(lane, number(value));
  }
  TensorStatistics all{.elements = elements};
  for (int lane = 0; lane < Lanes::count; ++lane) {
    all.add({0, lanes.nans[lane], lanes.infinities[lane], lanes.squares[lane], lanes.min[lane],
             lanes.max[lane]});
  }
  return all;
}

// Reads tensors one after the other, for one thread.
class Meter {
 public:
  Meter(const CheckpointReader& reader, int64_t part_bytes,
        const std::function<void(int64_t bytes)>& progress)
      : reader_(reader), part_bytes_(part_bytes), progress_(progress) {}

  TensorStatistics measure(const StoredTensor& tensor) {
    TensorStatistics all;
    ReadChecks checks;  // parts come in the order of the elements, so every piece is checked
    for_parts(tensor, part_bytes_, [&](const Box& part, int64_t, int64_t bytes) {
      buffer_.resize(static_cast<size_t>(bytes));
      reader_.read(tensor.name, part, buffer_.data(), &checks);
      all.add(statistics_of(tensor.dtype, buffer_.data(), part.extent.elements()));
      progress_(bytes);
    });
    return all;
  }

 private:
  const CheckpointReader& reader_;
  int64_t part_bytes_;
  const std::function<void(int64_t bytes)>& progress_;
  std::vector<char> buffer_;
};

// Numbers of the tensors, the largest first, so that threads end together.
std::vector<size_t> by_size(const std::vector<const StoredTensor*>& tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](size_t i) {
    return tensors[i]->shape.elements() * size_of(tensors[i]->dtype);
  });
  return order;
}

}  // namespace

double TensorStatistics::norm() const { return std::sqrt(squares); }

void TensorStatistics::add(const TensorStatistics& more) {
  elements += more.elements;
  nans += more.nans;
  infinities += more.infinities;
  squares += more.squares;
  min = std::min(min, more.min);
  max = std::max(max, more.max);
}

TensorStatistics statistics_of(DType dtype, const void* data, int64_t elements) {
  const char* bytes = static_cast<const char*>(data);
  switch (dtype) {
    case DType::f32:
      return statistics_as<float>(bytes, elements);
    case DType::bf16:
      return statistics_as<bf16>(bytes, elements);
    case DType::f16:
      return statistics_as<f16>(bytes, elements);
    case DType::f64:
      return statistics_as<double>(bytes, elements);
    case DType::i32:
      return statistics_as<int32_t>(bytes, elements);
    case DType::i64:
      return statistics_as<int64_t>(bytes, elements);
    case DType::u8:
      return statistics_as<uint8_t>(bytes, elements);
    case DType::u16:
      return statistics_as<uint16_t>(bytes, elements);
  }
  return {};
}

std::vector<TensorStatistics> measure(const CheckpointReader& reader,
                                      const std::vector<std::string>& names,
                                      const std::function<void(int64_t bytes)>& progress,
                                      int64_t part_bytes) {
  std::vector<const StoredTensor*> tensors;
  for (const std::string& name : names) {
    tensors.push_back(reader.find(name));
    check(tensors.back() != nullptr, "checkpoint", "{} is not in the checkpoint", name);
  }
  const std::vector<size_t> order = by_size(tensors);
  std::vector<TensorStatistics> found(tensors.size());
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const std::function<void(int64_t)> locked_progress = [&](int64_t bytes) {
    const std::lock_guard lock(mutex);
    if (progress) progress(bytes);
  };
#pragma omp parallel
  try {
    Meter meter(reader, part_bytes, locked_progress);
    for (size_t i = next++; i < order.size(); i = next++) {
      found[order[i]] = meter.measure(*tensors[order[i]]);
    }
  } catch (...) {
    next = order.size();  // the others end with the tensor that they are at
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::current_exception();
  }
  if (failure) std::rethrow_exception(failure);
  return found;
}

}  // namespace switchyard
