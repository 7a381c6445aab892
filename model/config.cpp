#include "model/config.h"

#include <cmath>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t vocabulary_multiple = 128;
constexpr const char* where = "model configuration";

// Far above any model, and low enough that no product of three sizes overflows.
constexpr int64_t largest_size = int64_t{1} << 20;

void check_size(const char* field, int64_t value) {
  check(value > 0 && value <= largest_size, where, "{} is {}; 1 to {} is allowed", field, value,
        largest_size);
}

void check_probability(const char* field, double value) {
  check(value >= 0 && value < 1, where, "{} is {}; 0 <= p < 1 is allowed", field, value);
}

void check_sizes(const GptConfig& c) {
  check_size("layers", c.layers);
  check_size("hidden", c.hidden);
  check_size("heads", c.heads);
  check(c.vocabulary > 0, where, "vocabulary is {}; it must be 1 or more", c.vocabulary);
  check_size("ffn_hidden", c.ffn_hidden);
  check_size("head_dim", c.head_dim);
  check_size("query_groups", c.query_groups);
  check(c.heads % c.query_groups == 0, where,
        "query_groups is {} and heads is {}; heads must be a multiple of query_groups",
        c.query_groups, c.heads);
  check(c.vocabulary <= INT32_MAX - vocabulary_multiple, where,
        "vocabulary is {}; tokens are 32-bit numbers", c.vocabulary);
}

void check_positions(const GptConfig& c) {
  if (c.positions == Positions::learned) {
    return check(c.max_positions > 0 && c.max_positions <= INT32_MAX, where,
                 "max_positions is {}; 1 to {} is allowed", c.max_positions, INT32_MAX);
  }
  check(c.rotary_percent > 0 && c.rotary_percent <= 1, where,
        "rotary_percent is {}; above 0 and up to 1 is allowed", c.rotary_percent);
  check(c.rotary_base > 1, where, "rotary_base is {}; above 1 is allowed", c.rotary_base);
  check(c.rotary_dim() >= 2, where,
        "rotary_percent {} of head_dim {} leaves {} rotated channels; at least 2 are needed",
        c.rotary_percent, c.head_dim, c.rotary_dim());
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
  const int64_t biases = c.linear_bias ? qkv + c.hidden + up + c.hidden : 0;
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
    check(
        hidden % heads == 0, where,
        "hidden is {} and heads is {}; hidden must be a multiple of heads unless head_dim is given",
        hidden, heads);
    c.head_dim = hidden / heads;
  }
  if (c.ffn_hidden == 0) {
    c.ffn_hidden = activation == ops::Activation::swiglu ? hidden * 8 / 3 / 64 * 64 : 4 * hidden;
  }
  return c;
}

void GptConfig::validate() const {
  const GptConfig c = completed();
  check_sizes(c);
  check_positions(c);
  check_probability("hidden_dropout", hidden_dropout);
  check_probability("attention_dropout", attention_dropout);
  const auto epsilon = static_cast<float>(norm_epsilon);
  check(epsilon > 0 && std::isfinite(epsilon), where,
        "norm_epsilon is {}; it must be above 0 (and finite) in fp32", norm_epsilon);
  check(init_deviation > 0, where, "init_deviation is {}; it must be above 0", init_deviation);
}

}  // namespace switchyard
