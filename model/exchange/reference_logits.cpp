#include "model/exchange/reference_logits.h"

#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/files.h"
#include "model/exchange/reference_models.h"

namespace switchyard {

namespace {

constexpr const char* where = "reference logits";

// Llama 3.1's, as its authors describe it by wavelengths.
double scaled(double frequency, const ReferenceConfig& rope, double positions) {
  const double low = rope.get("low_freq_factor", 1.0), high = rope.get("high_freq_factor", 4.0);
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double slow = frequency / rope.get("factor", 8.0);
  if (wavelength < positions / high) return frequency;
  if (wavelength > positions / low) return slow;
  const double smooth = (positions / wavelength - low) / (high - low);
  return (1 - smooth) * slow + smooth * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const ReferenceConfig& config, size_t head_dim) {
  const Json* object = config.find("rope_scaling");
  if (object == nullptr) object = config.find("rope_parameters");
  const ReferenceConfig rope(object == nullptr ? Json::object() : *object);
  const bool neox = config.get<std::string>("model_type", "") == "gpt_neox";
  double theta = config.get(neox ? "rotary_emb_base" : "rope_theta", 10000.0);
  double part = neox ? config.get("rotary_pct", 0.25) : 1.0;
  // Transformers 5 have both within the object.
  if (const Json* parameters = config.find("rope_parameters")) {
    theta = ReferenceConfig(*parameters).get("rope_theta", theta);
    part = ReferenceConfig(*parameters).get("partial_rotary_factor", part);
  }
  theta = rope.get("rope_theta", theta);
  part = rope.get("partial_rotary_factor", part);
  const auto rotated = static_cast<size_t>(static_cast<double>(head_dim) * part);
  const auto type = rope.get<std::string>("rope_type", rope.get<std::string>("type", "default"));
  const double positions =
      rope.get("original_max_position_embeddings",
               config.get("max_position_embeddings", config.get("max_sequence_length", 0.0)));
  std::vector<double> frequencies(rotated / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double plain =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotated));
    frequencies[i] = type == "llama3" ? scaled(plain, rope, positions) : plain;
  }
  return frequencies;
}

std::vector<float> reference_logits(const std::filesystem::path& folder,
                                    std::span<const int32_t> tokens, std::optional<DType> rounded) {
  check(!tokens.empty(), where, "no tokens; at least one is needed");
  const ReferenceConfig config(parse_json(read_file(folder / "config.json")));
  const auto type = config.get<std::string>("model_type", "");
  if (type == "gpt2") {
    ReferenceWeights weights(folder, "transformer.", rounded);
    return gpt2_logits(config, weights, tokens);
  }
  if (type == "gpt_neox") {
    ReferenceWeights weights(folder, "gpt_neox.", rounded);
    return gpt_neox_logits(config, weights, tokens);
  }
  check(type == "llama" || type == "mistral" || type == "qwen2", where,
        "{}: model_type {}; gpt2, gpt_neox, llama, mistral and qwen2 are known", folder.string(),
        type);
  ReferenceWeights weights(folder, "model.", rounded);
  return llama_logits(config, weights, tokens);
}

}  // namespace switchyard
