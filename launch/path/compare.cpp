#include "launch/path/compare.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core/error.h"
#include "launch/path/tensor_parts.h"
#include "parallel/checkpoint/read_checks.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

namespace {

// Whether a difference is the first, or larger than those before it.
template <class Found>
bool is_notable(const Found& found, double a, double b) {
  return !found.first ||
         relative_difference(a, b) > relative_difference(found.largest->a, found.largest->b);
}

template <class Found>
void note(Found& found, const typename Found::Place& place) {
  if (!found.first) found.first = place;
  found.largest = place;
}

// Two tensors of the same name, dtype and shape, part by part.
class TensorComparison {
 public:
  TensorComparison(const StoredTensor& tensor, double tolerance, CheckpointComparison& found)
      : tensor_(tensor), tolerance_(tolerance), found_(found) {}

  // The elements of both from the flat index `begin` on.
  void add(int64_t begin, const std::vector<char>& a, const std::vector<char>& b) {
    if (std::memcmp(a.data(), b.data(), a.size()) == 0) return;
    switch (tensor_.dtype) {
      case DType::f32:
        return add_as<float>(begin, a, b);
      case DType::bf16:
        return add_as<bf16>(begin, a, b);
      case DType::f16:
        return add_as<f16>(begin, a, b);
      case DType::f64:
        return add_as<double>(begin, a, b);
      case DType::i32:
        return add_as<int32_t>(begin, a, b);
      case DType::i64:
        return add_as<int64_t>(begin, a, b);
      case DType::u8:
        return add_as<uint8_t>(begin, a, b);
      case DType::u16:
        return add_as<uint16_t>(begin, a, b);
    }
  }
  bool differs() const { return differs_; }

 private:
  template <class T>
  static double number(T value) {
    if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<double>(value);
    } else {
      return static_cast<float>(value);
    }
  }

  template <class T>
  void add_as(int64_t begin, const std::vector<char>& a, const std::vector<char>& b) {
    for (size_t at = 0; at < a.size(); at += sizeof(T)) {
      if (std::memcmp(&a[at], &b[at], sizeof(T)) == 0) continue;
      T x, y;
      std::memcpy(&x, &a[at], sizeof(T));
      std::memcpy(&y, &b[at], sizeof(T));
      if (tolerance_ > 0 && relative_difference(number(x), number(y)) <= tolerance_) continue;
      differs_ = true;
      ++found_.differing_elements;
      if (!is_notable(found_, number(x), number(y))) continue;
      note(found_, {tensor_.name, index_of(begin + static_cast<int64_t>(at / sizeof(T))), number(x),
                    number(y)});
    }
  }

  std::vector<int64_t> index_of(int64_t flat) const {
    std::vector<int64_t> index(static_cast<size_t>(tensor_.shape.rank()));
    for (size_t axis = index.size(); axis-- > 0;) {
      const int64_t extent = tensor_.shape[static_cast<int>(axis)];
      index[axis] = flat % extent;
      flat /= extent;
    }
    return index;
  }

  const StoredTensor& tensor_;
  double tolerance_;
  CheckpointComparison& found_;
  bool differs_ = false;
};

bool belongs(const StoredTensor& tensor, const std::string& group) {
  const std::string name = tensor_name(group);
  return group.empty() || tensor.name == name || tensor.name.starts_with(name + "/");
}

std::string form_of(const StoredTensor& tensor) {
  return fmt::format("{} {}", name_of(tensor.dtype), tensor.shape.to_string());
}

}  // namespace

RecordComparison compare_records(const std::map<int64_t, StepRecord>& a,
                                 const std::map<int64_t, StepRecord>& b, double tolerance) {
  RecordComparison found;
  for (const auto& [step, one] : a) {
    const auto other = b.find(step);
    if (other == b.end()) continue;
    if (found.common++ == 0) found.first_step = step;
    found.last_step = step;
    bool differs = false;
    for (size_t i = 0; i < StepRecord::names.size(); ++i) {
      const double x = one.values[i], y = other->second.values[i];
      if (relative_difference(x, y) <= tolerance) continue;
      differs = true;
      if (is_notable(found, x, y)) note(found, {step, StepRecord::names[i], x, y});
    }
    if (differs) ++found.differing;
  }
  found.only_a = std::ssize(a) - found.common;
  found.only_b = std::ssize(b) - found.common;
  return found;
}

CheckpointComparison compare_checkpoints(const CheckpointReader& a, const CheckpointReader& b,
                                         const std::string& group, double tolerance,
                                         const std::function<void(int64_t bytes)>& progress,
                                         int64_t part_bytes) {
  CheckpointComparison found;
  std::vector<char> mine, other;
  for (const StoredTensor& tensor : b.tensors()) {
    if (belongs(tensor, group) && a.find(tensor.name) == nullptr)
      found.only_b.push_back(tensor.name);
  }
  for (const StoredTensor& tensor : a.tensors()) {
    if (!belongs(tensor, group)) continue;
    const StoredTensor* same = b.find(tensor.name);
    if (same == nullptr) {
      found.only_a.push_back(tensor.name);
      continue;
    }
    if (same->shape != tensor.shape || same->dtype != tensor.dtype) {
      found.unlike.push_back(
          fmt::format("{}: {} and {}", tensor.name, form_of(tensor), form_of(*same)));
      continue;
    }
    TensorComparison comparison(tensor, tolerance, found);
    ReadChecks of_a, of_b;  // parts come in the order of the elements, so every piece is checked
    for_parts(tensor, part_bytes, [&](const Box& part, int64_t begin, int64_t bytes) {
      mine.resize(static_cast<size_t>(bytes));
      other.resize(static_cast<size_t>(bytes));
      a.read(tensor.name, part, mine.data(), &of_a);
      b.read(tensor.name, part, other.data(), &of_b);
      comparison.add(begin, mine, other);
      if (progress) progress(bytes);
    });
    ++found.tensors;
    found.elements += tensor.shape.elements();
    if (comparison.differs()) ++found.differing_tensors;
  }
  return found;
}

}  // namespace switchyard
