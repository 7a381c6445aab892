#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/memory.h"
#include "parallel/checkpoint/safetensors.h"

// Private to model/exchange: what reference_logits computes with. A matrix is its rows one behind
// the other, a row for each token.
namespace switchyard {

using Rows = std::vector<float>;

// A folder's tensors in fp32, and products with them, of which parts alone are held.
class ReferenceWeights {
 public:
  // Names may lack the prefix. rounded: as reference_logits.
  ReferenceWeights(const std::filesystem::path& folder, std::string prefix,
                   std::optional<DType> rounded)
      : folder_(folder), prefix_(std::move(prefix)), rounded_(rounded) {}

  bool has(const std::string& name) const { return find(name) != nullptr; }
  Rows vector(const std::string& name) const;
  // Rows of [rows, columns].
  Rows rows(const std::string& name, std::span<const int32_t> which) const;
  // x times name.weight [outputs, inputs] transposed, plus name.bias where there is to be one.
  Rows linear(const Rows& x, size_t tokens, const std::string& name, bool bias);
  Rows linear_without_suffix(const Rows& x, size_t tokens, const std::string& weight);
  // x times name.weight [inputs, outputs], plus name.bias.
  Rows conv1d(const Rows& x, size_t tokens, const std::string& name);

 private:
  const SafetensorsEntry* find(const std::string& name) const;
  const SafetensorsEntry& get(const std::string& name, size_t axes) const;
  // Elements [begin, begin + count) of the tensor.
  void read(const SafetensorsEntry& entry, int64_t begin, int64_t count, float* out) const;
  void add_bias(Rows& y, const std::string& name) const;

  SafetensorsFolder folder_;
  std::string prefix_;
  std::optional<DType> rounded_;
  Stream stream_;
  Scratch scratch_;
};

}  // namespace switchyard
