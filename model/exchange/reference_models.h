#pragma once

#include "model/exchange/reference_weights.h"

// Private to model/exchange: the architectures of reference_logits.
namespace switchyard {

// The values of a config.json; an absent or null key has the value that is given.
class ReferenceConfig {
 public:
  explicit ReferenceConfig(Json json) : json_(std::move(json)) {}

  template <class T>
  T get(const std::string& key, T absent) const {
    const Json* value = find(key);
    return value == nullptr ? absent : value->get<T>();
  }
  bool has(const std::string& key) const { return json_.contains(key); }
  size_t size(const std::string& key) const { return json_.at(key).get<size_t>(); }
  const Json* find(const std::string& key) const {
    return json_.contains(key) && !json_.at(key).is_null() ? &json_.at(key) : nullptr;
  }

 private:
  Json json_;
};

// Of rotary positions, for heads of so many channels: [rotated channels / 2].
std::vector<double> rope_frequencies(const ReferenceConfig& config, size_t head_dim);

// The logits [tokens, vocabulary] of all tokens.
Rows gpt2_logits(const ReferenceConfig& config, ReferenceWeights& weights,
                 std::span<const int32_t> tokens);
Rows gpt_neox_logits(const ReferenceConfig& config, ReferenceWeights& weights,
                     std::span<const int32_t> tokens);
Rows llama_logits(const ReferenceConfig& config, ReferenceWeights& weights,
                  std::span<const int32_t> tokens);

}  // namespace switchyard
