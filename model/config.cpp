#include "model/config.h"

#include <cmath>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t vocabulary_multiple = 128;
constexpr const char* where = "model configuration";

// Errors name the options that the fields are set by.
void check_size(const char* option, int64_t value, const std::string& origin = "") {
  check(value > 0 && value <= largest_model_size, where, "{} {}{}; 1 to {} is allowed", option,
        value, origin.empty() ? "" : " (" + origin + ")", largest_model_size);
}

void check_probability(const char* option, double value) {
  check(value >= 0 && value < 1, where, "{} {}; 0 <= p < 1 is allowed", option, value);
}

void check_sizes(const GptConfig& c) {
  check_size("--num-layers", c.layers);
  check_size("--hidden-size", c.hidden);
  check_size("--num-attention-heads", c.heads);
  check(c.vocabulary > 0, where, "--vocab-size {}; 1 or more is allowed", c.vocabulary);
  check_size("--ffn-hidden-size", c.ffn_hidden, c.origin_of_ffn_hidden());
  check_size("--kv-channels", c.head_dim);
  check_size("--num-query-groups", c.query_groups);
  check(c.heads % c.query_groups == 0, where,
        "--num-query-groups {} with --num-attention-heads {}; a divisor of the heads is allowed",
        c.query_groups, c.heads);
  check(c.vocabulary <= INT32_MAX - vocabulary_multiple, where,
        "--vocab-size {}; tokens are 32-bit numbers", c.vocabulary);
}

void check_rope_scaling(const GptConfig& c) {
  if (!c.rope_scaling) return;
  check(c.positions == Positions::rotary, where,
        "--use-rope-scaling with learned positions; it is allowed with "
        "--position-embedding-type rope");
  check(c.rope_factor >= 1 && std::isfinite(c.rope_factor), where,
        "--rope-scaling-factor {}; 1 or more is allowed", c.rope_factor);
  check(c.rope_low_frequency > 0 && c.rope_low_frequency < c.rope_high_frequency, where,
        "--rope-scaling-low-freq-factor {} with --rope-scaling-high-freq-factor {}; 0 < low < high "
        "is allowed",
        c.rope_low_frequency, c.rope_high_frequency);
  check(c.rope_original_positions >= 1 && c.rope_original_positions <= INT32_MAX, where,
        "--rope-scaling-original-max-position-embeddings {}; 1 to {} is allowed",
        c.rope_original_positions, INT32_MAX);
}

void check_positions(const GptConfig& c) {
  check_rope_scaling(c);
  if (c.positions == Positions::learned) {
    return check(c.max_positions > 0 && c.max_positions <= INT32_MAX, where,
                 "--max-position-embeddings {}; 1 to {} is allowed", c.max_positions, INT32_MAX);
  }
  check(c.max_positions >= 0 && c.max_positions <= INT32_MAX, where,
        "--max-position-embeddings {}; 0 (not known) to {} is allowed", c.max_positions, INT32_MAX);
  check(c.rotary_percent > 0 && c.rotary_percent <= 1, where,
        "--rotary-percent {}; above 0 and up to 1 is allowed", c.rotary_percent);
  check(c.rotary_base > 1, where, "--rotary-base {}; above 1 is allowed", c.rotary_base);
  check(c.rotary_dim() >= 2, where,
        "--rotary-percent {} of heads of {} channels (--kv-channels, or --hidden-size {} / "
        "--num-attention-heads {}) leaves {} rotated ones; at least 2 are needed",
        c.rotary_percent, c.head_dim, c.hidden, c.heads, c.rotary_dim());
}

int64_t default_ffn_hidden(const GptConfig& c) {
  return c.activation == ops::Activation::swiglu ? c.hidden * 8 / 3 / 64 * 64 : 4 * c.hidden;
}

}  // namespace

int64_t GptConfig::padded_vocabulary() const {
  return (vocabulary + vocabulary_multiple - 1) / vocabulary_multiple * vocabulary_multiple;
}

int64_t GptConfig::rotary_dim() const {
  return static_cast<int64_t>(static_cast<double>(completed().head_dim) * rotary_percent) / 2 * 2;
}

int64_t GptConfig::product_weights() const {
  const GptConfig c = completed();
  const int64_t attention = c.hidden * c.head_dim * (2 * c.heads + 2 * c.query_groups);
  const int64_t matrices = c.activation == ops::Activation::swiglu ? 3 : 2;
  return c.layers * (attention + matrices * c.hidden * c.ffn_hidden) + c.vocabulary * c.hidden;
}

int64_t GptConfig::parameters() const {
  const GptConfig c = completed();
  const int64_t norm_size = c.hidden * (c.norm == ops::Norm::layer && c.norm_bias ? 2 : 1);
  const int64_t up = c.ffn_hidden * (c.activation == ops::Activation::swiglu ? 2 : 1);
  const int64_t qkv = c.head_dim * (c.heads + 2 * c.query_groups);
  const int64_t biases = (c.has_qkv_bias() ? qkv : 0) +
                         (c.has_attention_output_bias() ? c.hidden : 0) +
                         (c.has_mlp_bias() ? up + c.hidden : 0);
  const int64_t positions_size = c.positions == Positions::learned ? c.max_positions * c.hidden : 0;
  const int64_t embedding = c.vocabulary * c.hidden * (c.tied_output ? 0 : 1);
  return product_weights() + embedding + positions_size + c.layers * (2 * norm_size + biases) +
         norm_size;
}

double GptConfig::causal_flops_per_token(int64_t sequence_length) const {
  const GptConfig c = completed();
  return 6.0 * static_cast<double>(c.product_weights()) +
         6.0 * static_cast<double>(c.layers * c.heads * c.head_dim * sequence_length);
}

GptConfig GptConfig::completed() const {
  GptConfig c = *this;
  if (c.query_groups == 0) c.query_groups = heads;
  if (c.head_dim == 0 && heads > 0) {
    check(hidden % heads == 0, where,
          "--hidden-size {} with --num-attention-heads {}; a multiple of the heads is allowed, or "
          "another size with --kv-channels",
          hidden, heads);
    c.head_dim = hidden / heads;
  }
  if (c.ffn_hidden == 0) c.ffn_hidden = default_ffn_hidden(c);
  return c;
}

std::string GptConfig::origin_of_ffn_hidden() const {
  if (ffn_hidden != default_ffn_hidden(*this)) return "";
  return activation == ops::Activation::swiglu
             ? fmt::format("8/3 of --hidden-size {}, down to a multiple of 64", hidden)
             : fmt::format("4 x --hidden-size {}", hidden);
}

void GptConfig::validate() const {
  const GptConfig c = completed();
  check_sizes(c);
  check_positions(c);
  check_probability("--hidden-dropout", hidden_dropout);
  check_probability("--attention-dropout", attention_dropout);
  const auto epsilon = static_cast<float>(norm_epsilon);
  check(epsilon > 0 && std::isfinite(epsilon), where,
        "--norm-epsilon {}; above 0 (and finite) in fp32 is allowed", norm_epsilon);
  check(init_deviation > 0, where, "--init-method-std {}; above 0 is allowed", init_deviation);
}

}  // namespace switchyard
