#include "model/exchange/architecture.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr std::pair<Architecture, const char*> names[] = {{Architecture::gpt2, "gpt2"},
                                                          {Architecture::gpt_neox, "gpt_neox"},
                                                          {Architecture::llama, "llama"},
                                                          {Architecture::mistral, "mistral"},
                                                          {Architecture::qwen2, "qwen2"}};

// Options of a configuration that an architecture has not, as an error names them.
using Obstacles = std::vector<std::string>;

std::string bias_options(const GptConfig& c) {
  if (c.linear_bias) return "biases of all projections (no --disable-bias-linear)";
  Obstacles given{"--disable-bias-linear"};
  if (c.qkv_bias) given.emplace_back("--add-qkv-bias");
  if (c.attention_output_bias) given.emplace_back("--add-attention-output-bias");
  if (c.mlp_bias) given.emplace_back("--add-mlp-bias");
  return fmt::format("{}", fmt::join(given, " "));
}

void plain_heads(const GptConfig& c, Obstacles& found) {
  if (c.query_groups != c.heads) {
    found.push_back(fmt::format("--num-query-groups {} (heads: {})", c.query_groups, c.heads));
  }
  if (c.head_dim * c.heads != c.hidden) {
    found.push_back(fmt::format("--kv-channels {} (hidden size / heads: {} / {})", c.head_dim,
                                c.hidden, c.heads));
  }
}

void layer_norm_and_gelu(const GptConfig& c, Obstacles& found) {
  if (c.norm != ops::Norm::layer) found.emplace_back("--normalization RMSNorm");
  if (c.norm == ops::Norm::layer && !c.norm_bias) found.emplace_back("LayerNorm without biases");
  if (c.activation == ops::Activation::swiglu) found.emplace_back("--activation swiglu");
}

Obstacles of_gpt2(const GptConfig& c) {
  Obstacles found;
  if (c.positions != Positions::learned) found.emplace_back("--position-embedding-type rope");
  layer_norm_and_gelu(c, found);
  if (c.parallel_residual) found.emplace_back("--parallel-residual");
  if (!c.has_qkv_bias() || !c.has_attention_output_bias() || !c.has_mlp_bias()) {
    found.push_back(bias_options(c));
  }
  plain_heads(c, found);
  return found;
}

Obstacles of_gpt_neox(const GptConfig& c) {
  Obstacles found;
  if (c.positions != Positions::rotary) {
    found.emplace_back("--position-embedding-type learned_absolute");
  }
  layer_norm_and_gelu(c, found);
  if (!c.has_mlp_bias() || c.has_qkv_bias() != c.has_attention_output_bias()) {
    found.push_back(bias_options(c));
  }
  plain_heads(c, found);
  return found;
}

bool biases_fit(Architecture architecture, const GptConfig& c) {
  const bool attention = c.has_qkv_bias(), output = c.has_attention_output_bias();
  if (architecture == Architecture::llama) return attention == output;
  if (architecture == Architecture::qwen2) return attention && !output && !c.has_mlp_bias();
  return !attention && !output && !c.has_mlp_bias();
}

Obstacles of_llama(Architecture architecture, const GptConfig& c) {
  Obstacles found;
  if (c.positions != Positions::rotary) {
    found.emplace_back("--position-embedding-type learned_absolute");
  } else if (c.rotary_dim() != c.head_dim) {
    found.push_back(fmt::format("--rotary-percent {} ({} of a head's {} channels)",
                                c.rotary_percent, c.rotary_dim(), c.head_dim));
  }
  if (c.norm != ops::Norm::rms) found.emplace_back("--normalization LayerNorm");
  if (c.activation == ops::Activation::gelu_tanh) found.emplace_back("--activation gelu-tanh");
  if (c.activation == ops::Activation::gelu_erf) found.emplace_back("--activation gelu-erf");
  if (c.parallel_residual) found.emplace_back("--parallel-residual");
  if (!biases_fit(architecture, c)) found.push_back(bias_options(c));
  if (architecture == Architecture::llama && c.hidden % c.heads != 0) {
    found.push_back(fmt::format("--num-attention-heads {} that do not divide --hidden-size {}",
                                c.heads, c.hidden));
  }
  return found;
}

Obstacles obstacles(Architecture architecture, const GptConfig& config) {
  const GptConfig c = config.completed();
  if (architecture == Architecture::gpt2) return of_gpt2(c);
  if (architecture == Architecture::gpt_neox) return of_gpt_neox(c);
  return of_llama(architecture, c);
}

}  // namespace

std::string_view name_of(Architecture architecture) {
  return names[static_cast<size_t>(architecture)].second;
}

std::optional<Architecture> architecture_named(std::string_view model_type) {
  for (const auto& [architecture, name] : names) {
    if (model_type == name) return architecture;
  }
  return std::nullopt;
}

std::vector<std::string> architecture_names() {
  std::vector<std::string> all;
  for (const auto& [architecture, name] : names) all.emplace_back(name);
  return all;
}

Architecture architecture_of(const GptConfig& config, std::optional<Architecture> wanted) {
  constexpr const char* where = "architecture";
  if (wanted) {
    const Obstacles found = obstacles(*wanted, config);
    check(found.empty(), where, "{} has no {}", name_of(*wanted), fmt::join(found, ", no "));
    return *wanted;
  }
  Architecture nearest = Architecture::gpt2;
  Obstacles fewest;
  for (const Architecture candidate :
       {Architecture::gpt2, Architecture::gpt_neox, Architecture::llama, Architecture::qwen2,
        Architecture::mistral}) {
    Obstacles found = obstacles(candidate, config);
    if (found.empty()) return candidate;
    if (fewest.empty() || found.size() < fewest.size()) {
      nearest = candidate;
      fewest = std::move(found);
    }
  }
  fail(where, "none of {} computes this model; the nearest, {}, has no {}",
       fmt::join(architecture_names(), ", "), name_of(nearest), fmt::join(fewest, ", no "));
}

}  // namespace switchyard
