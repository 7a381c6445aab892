#include "core/error.h"
#include "launch/path/specification.h"

namespace switchyard {

namespace {

const char* name_of_activation(ops::Activation activation) {
  switch (activation) {
    case ops::Activation::gelu_tanh:
      return "gelu-tanh";
    case ops::Activation::gelu_erf:
      return "gelu-erf";
    case ops::Activation::swiglu:
      return "swiglu";
  }
  return "";
}

ops::Activation activation_named(const std::string& name) {
  for (const auto kind :
       {ops::Activation::gelu_tanh, ops::Activation::gelu_erf, ops::Activation::swiglu}) {
    if (name == name_of_activation(kind)) return kind;
  }
  fail("options", "--activation {}; gelu-tanh, gelu-erf or swiglu is allowed", name);
}

// Whether `name` is the first of two words; throws when it is neither.
bool is_first(const Settings& settings, const std::string& name, const std::string& first,
              const std::string& second) {
  const std::string& value = settings.text(name);
  check(value == first || value == second, "options", "--{} {}; {} or {} is allowed", name, value,
        first, second);
  return value == first;
}

const char* text_of(bool value) { return value ? "true" : "false"; }

}  // namespace

Settings settings_of(const GptConfig& c) {
  Settings s;
  const auto integer = [&](const char* name, int64_t v) { s.set_text(name, std::to_string(v)); };
  const auto real = [&](const char* name, double v) { s.set_text(name, canonical_real(v)); };
  integer("num-layers", c.layers);
  integer("hidden-size", c.hidden);
  integer("num-attention-heads", c.heads);
  integer("num-query-groups", c.query_groups);
  integer("kv-channels", c.head_dim);
  integer("ffn-hidden-size", c.ffn_hidden);
  integer("vocab-size", c.vocabulary);
  integer("max-position-embeddings", c.max_positions);
  s.set_text("position-embedding-type",
             c.positions == Positions::learned ? "learned_absolute" : "rope");
  real("rotary-base", c.rotary_base);
  real("rotary-percent", c.rotary_percent);
  s.set_text("normalization", c.norm == ops::Norm::layer ? "LayerNorm" : "RMSNorm");
  real("norm-epsilon", c.norm_epsilon);
  s.set_text("activation", name_of_activation(c.activation));
  s.set_text("parallel-residual", text_of(c.parallel_residual));
  s.set_text("disable-bias-linear", text_of(!c.linear_bias));
  s.set_text("untie-embeddings-and-output-weights", text_of(!c.tied_output));
  real("init-method-std", c.init_deviation);
  real("hidden-dropout", c.hidden_dropout);
  real("attention-dropout", c.attention_dropout);
  return s;
}

GptConfig config_of(const Settings& s) {
  GptConfig c;
  const auto integer = [&](const char* name, int64_t& to) {
    if (s.has(name)) to = s.integer(name);
  };
  const auto real = [&](const char* name, double& to) {
    if (s.has(name)) to = s.real(name);
  };
  integer("num-layers", c.layers);
  integer("hidden-size", c.hidden);
  integer("num-attention-heads", c.heads);
  integer("num-query-groups", c.query_groups);
  integer("kv-channels", c.head_dim);
  integer("ffn-hidden-size", c.ffn_hidden);
  integer("vocab-size", c.vocabulary);
  integer("max-position-embeddings", c.max_positions);
  real("rotary-base", c.rotary_base);
  real("rotary-percent", c.rotary_percent);
  real("norm-epsilon", c.norm_epsilon);
  real("init-method-std", c.init_deviation);
  real("hidden-dropout", c.hidden_dropout);
  real("attention-dropout", c.attention_dropout);
  if (s.has("position-embedding-type")) {
    const bool learned = is_first(s, "position-embedding-type", "learned_absolute", "rope");
    c.positions = learned ? Positions::learned : Positions::rotary;
  }
  if (s.has("normalization")) {
    c.norm =
        is_first(s, "normalization", "LayerNorm", "RMSNorm") ? ops::Norm::layer : ops::Norm::rms;
  }
  if (s.has("activation")) c.activation = activation_named(s.text("activation"));
  c.parallel_residual = s.flag("parallel-residual");
  c.linear_bias = !s.flag("disable-bias-linear");
  c.tied_output = !s.flag("untie-embeddings-and-output-weights");
  c.norm_bias = c.norm == ops::Norm::layer;
  return c.completed();
}

std::vector<std::string> rounded_sizes(const GptConfig& c, const Settings& given) {
  std::vector<std::string> lines;
  if (c.activation == ops::Activation::swiglu && !given.has("ffn-hidden-size") &&
      !c.origin_of_ffn_hidden().empty()) {
    lines.push_back(
        fmt::format("--ffn-hidden-size {} ({})", c.ffn_hidden, c.origin_of_ffn_hidden()));
  }
  const double asked = static_cast<double>(c.head_dim) * c.rotary_percent;
  if (c.positions == Positions::rotary && asked != static_cast<double>(c.rotary_dim())) {
    lines.push_back(fmt::format(
        "{} of a head's {} channels are rotated (--rotary-percent {} is {:.6g}, down to an even "
        "number)",
        c.rotary_dim(), c.head_dim, c.rotary_percent, asked));
  }
  return lines;
}

}  // namespace switchyard
