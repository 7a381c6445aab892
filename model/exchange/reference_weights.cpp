#include "model/exchange/reference_weights.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/half.h"
#include "core/ops/matmul/matmul.h"

namespace switchyard {

namespace {

constexpr const char* where = "reference logits";
constexpr int64_t part_elements = int64_t{1} << 19;  // of a weight at once

template <class T>
void widen(const std::byte* from, int64_t count, float* out) {
#pragma omp parallel for schedule(static) if (count > 65536)
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

template <class T>
void round_to(float* values, int64_t count) {
#pragma omp parallel for schedule(static) if (count > 65536)
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(T(values[i]));
}

Tensor matrix(const Rows& x, size_t rows) {
  const auto count = static_cast<int64_t>(rows);
  return {
      const_cast<float*>(x.data()), DType::f32, {count, static_cast<int64_t>(x.size()) / count}};
}

}  // namespace

const SafetensorsEntry* ReferenceWeights::find(const std::string& name) const {
  const SafetensorsEntry* entry = folder_.find(name);
  if (entry == nullptr && name.starts_with(prefix_)) {
    entry = folder_.find(std::string_view(name).substr(prefix_.size()));
  }
  return entry;
}

const SafetensorsEntry& ReferenceWeights::get(const std::string& name, size_t axes) const {
  const SafetensorsEntry* entry = find(name);
  check(entry != nullptr, where, "{} has no tensor {}", folder_.folder().string(), name);
  check(entry->shape.size() == axes, where, "{} is {}; a tensor of {} axes is expected", name,
        shape_text(*entry), axes);
  return *entry;
}

void ReferenceWeights::read(const SafetensorsEntry& entry, int64_t begin, int64_t count,
                            float* out) const {
  const auto dtype = weight_dtype(entry);
  check(dtype.has_value(), where, "{} is {}; F32, F16 and BF16 are allowed", entry.name,
        entry.dtype);
  const int64_t first = begin * size_of(*dtype), bytes = count * size_of(*dtype);
  const std::byte* from = folder_.data(entry) + first;
  if (*dtype == DType::f32) widen<float>(from, count, out);
  if (*dtype == DType::bf16) widen<bf16>(from, count, out);
  if (*dtype == DType::f16) widen<f16>(from, count, out);
  if (rounded_ == DType::bf16) round_to<bf16>(out, count);
  if (rounded_ == DType::f16) round_to<f16>(out, count);
  folder_.release(entry, first, first + bytes);
}

Rows ReferenceWeights::vector(const std::string& name) const {
  const SafetensorsEntry& entry = get(name, 1);
  Rows out(static_cast<size_t>(entry.shape[0]));
  read(entry, 0, entry.shape[0], out.data());
  return out;
}

Rows ReferenceWeights::rows(const std::string& name, std::span<const int32_t> which) const {
  const SafetensorsEntry& entry = get(name, 2);
  const int64_t columns = entry.shape[1];
  Rows out(which.size() * static_cast<size_t>(columns));
  float* row = out.data();
  for (const int32_t i : which) {
    check(i >= 0 && i < entry.shape[0], where, "row {} of {}, which is {}", i, name,
          shape_text(entry));
    read(entry, i * columns, columns, row);
    row += columns;
  }
  return out;
}

Rows ReferenceWeights::linear_without_suffix(const Rows& x, size_t tokens,
                                             const std::string& weight) {
  const SafetensorsEntry& entry = get(weight, 2);
  const int64_t outputs = entry.shape[0], inputs = entry.shape[1];
  check(x.size() == tokens * static_cast<size_t>(inputs), where, "{} is {}; it gets {} inputs",
        weight, shape_text(entry), x.size() / tokens);
  Rows y(tokens * static_cast<size_t>(outputs));
  const int64_t most = std::clamp<int64_t>(part_elements / inputs, 1, outputs);
  Rows part(static_cast<size_t>(most * inputs));
  for (int64_t first = 0; first < outputs; first += most) {
    const int64_t count = std::min(most, outputs - first);
    read(entry, first * inputs, count * inputs, part.data());
    ops::matmul({stream_, scratch_}, matrix(x, tokens), {part.data(), DType::f32, {count, inputs}},
                matrix(y, tokens).slice(1, first, first + count), {.transpose_b = true});
  }
  return y;
}

Rows ReferenceWeights::linear(const Rows& x, size_t tokens, const std::string& name, bool bias) {
  Rows y = linear_without_suffix(x, tokens, name + ".weight");
  if (bias) add_bias(y, name);
  return y;
}

Rows ReferenceWeights::conv1d(const Rows& x, size_t tokens, const std::string& name) {
  const SafetensorsEntry& entry = get(name + ".weight", 2);
  const int64_t inputs = entry.shape[0], outputs = entry.shape[1];
  check(x.size() == tokens * static_cast<size_t>(inputs), where, "{} is {}; it gets {} inputs",
        name, shape_text(entry), x.size() / tokens);
  Rows y(tokens * static_cast<size_t>(outputs));
  const int64_t most = std::clamp<int64_t>(part_elements / outputs, 1, inputs);
  Rows part(static_cast<size_t>(most * outputs));
  for (int64_t first = 0; first < inputs; first += most) {
    const int64_t count = std::min(most, inputs - first);
    read(entry, first * outputs, count * outputs, part.data());
    ops::matmul({stream_, scratch_}, matrix(x, tokens).slice(1, first, first + count),
                {part.data(), DType::f32, {count, outputs}}, matrix(y, tokens),
                {.accumulate = true});
  }
  add_bias(y, name);
  return y;
}

void ReferenceWeights::add_bias(Rows& y, const std::string& name) const {
  const Rows bias = vector(name + ".bias");
  check(!bias.empty() && y.size() % bias.size() == 0, where, "{}.bias has {} elements", name,
        bias.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] += bias[i % bias.size()];
}

}  // namespace switchyard
