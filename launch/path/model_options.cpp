#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "launch/path/model_settings.h"

// The options of a model: a row for each, and the field of GptConfig that it is.
namespace switchyard {

namespace {

template <class T>
using Words = std::vector<std::pair<const char*, T>>;

Words<Positions> words_of(Positions) {
  return {{"learned_absolute", Positions::learned}, {"rope", Positions::rotary}};
}
Words<ops::Norm> words_of(ops::Norm) {
  return {{"LayerNorm", ops::Norm::layer}, {"RMSNorm", ops::Norm::rms}};
}
Words<ops::Activation> words_of(ops::Activation) {
  return {{"gelu-tanh", ops::Activation::gelu_tanh},
          {"gelu-erf", ops::Activation::gelu_erf},
          {"swiglu", ops::Activation::swiglu}};
}

template <auto field>
using TypeOf = std::remove_reference_t<decltype(std::declval<GptConfig&>().*field)>;

// `on` is the field's value where a flag is given.
template <auto field, bool on>
std::string text_of(const GptConfig& c) {
  using T = TypeOf<field>;
  if constexpr (std::is_same_v<T, bool>) return c.*field == on ? "true" : "false";
  if constexpr (std::is_same_v<T, int64_t>) return std::to_string(c.*field);
  if constexpr (std::is_same_v<T, double>) return canonical_real(c.*field);
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [word, value] : words_of(T{})) {
      if (value == c.*field) return word;
    }
  }
  return "";
}

template <auto field, bool on>
void take(const Settings& s, const std::string& name, GptConfig& c) {
  using T = TypeOf<field>;
  if constexpr (std::is_same_v<T, bool>) c.*field = s.flag(name) == on;
  if constexpr (std::is_same_v<T, int64_t>) c.*field = s.integer(name);
  if constexpr (std::is_same_v<T, double>) c.*field = s.real(name);
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [word, value] : words_of(T{})) {
      if (s.text(name) == word) c.*field = value;
    }
  }
}

template <class T>
OptionKind kind_of() {
  if (std::is_same_v<T, bool>) return OptionKind::flag;
  if (std::is_same_v<T, int64_t>) return OptionKind::integer;
  return std::is_same_v<T, double> ? OptionKind::real : OptionKind::text;
}

template <class T>
AllowedValues choices_of() {
  std::vector<std::string> choices;
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [word, value] : words_of(T{})) choices.emplace_back(word);
  }
  return choices.empty() ? AllowedValues{} : one_of(std::move(choices));
}

// A row of the table, and how it is read from and written to a configuration; none of the two for
// an option that stands for others.
struct ModelOption {
  OptionSpec spec;
  std::string (*text)(const GptConfig&) = nullptr;
  void (*take)(const Settings&, const std::string& name, GptConfig&) = nullptr;
};

// What a branch has as its parent: the names and shapes of tensors follow from it.
template <auto field, bool on = true>
ModelOption fixed(const char* name, const char* help, AllowedValues allowed = {}) {
  using T = TypeOf<field>;
  if (std::is_enum_v<T>) allowed = choices_of<T>();
  return {{.name = name,
           .kind = kind_of<T>(),
           .group = OptionGroup::model,
           .help = help,
           .allowed = std::move(allowed),
           .fork = OnFork::keeps},
          text_of<field, on>,
          take<field, on>};
}

ModelOption without_name_in_megatron(ModelOption option) {
  option.spec.megatron.assign(1, '-');
  return option;
}

ModelOption free_in_branches(ModelOption option) {
  option.spec.fork = OnFork::changes;
  return option;
}

ModelOption standing_for_others(const char* name, OptionKind kind, std::string help,
                                AllowedValues allowed, const char* megatron) {
  return {{.name = name,
           .kind = kind,
           .group = OptionGroup::model,
           .help = std::move(help),
           .allowed = std::move(allowed),
           .fork = OnFork::never,
           .megatron = megatron}};
}

using C = GptConfig;

AllowedValues size() { return between(1, largest_model_size); }

AllowedValues probability() {
  return numbers("0 <= p < 1", [](double p) { return p >= 0 && p < 1; });
}

std::vector<ModelOption> shape_options() {
  return {
      standing_for_others("preset", OptionKind::text,
                          fmt::format("a published shape: {}", fmt::join(preset_names(), ", ")),
                          one_of(preset_names()), "-"),
      fixed<&C::layers>("num-layers", "transformer layers", size()),
      fixed<&C::hidden>("hidden-size", "channels of the residual stream", size()),
      fixed<&C::heads>("num-attention-heads", "query heads", size()),
      fixed<&C::query_groups>("num-query-groups", "key and value heads (as many as query heads)",
                              size()),
      fixed<&C::head_dim>("kv-channels", "channels of a head (hidden-size / heads)", size()),
      fixed<&C::ffn_hidden>(
          "ffn-hidden-size",
          "channels inside the MLP (4 x hidden-size; swiglu: 8/3 x, down to a multiple of 64)",
          size()),
      fixed<&C::vocabulary>("vocab-size", "tokens are below this (the data's vocabulary)",
                            at_least(1)),
  };
}

std::vector<ModelOption> position_options() {
  const auto part = numbers("above 0 and up to 1", [](double p) { return p > 0 && p <= 1; });
  const auto factor = numbers("1 or more", [](double f) { return f >= 1; });
  constexpr int32_t most = std::numeric_limits<int32_t>::max();
  return {
      fixed<&C::max_positions>("max-position-embeddings",
                               "learned positions; of rope, what the model is made for; not below "
                               "seq-length (seq-length)",
                               between(0, most)),
      fixed<&C::positions>("position-embedding-type",
                           "learned_absolute or rope (learned_absolute)"),
      fixed<&C::rotary_base>("rotary-base", "base of the rotary frequencies (10000)", above(1)),
      fixed<&C::rotary_percent>("rotary-percent", "part of each head that is rotated (1)", part),
      fixed<&C::rope_scaling>("use-rope-scaling",
                              "rotary frequencies scaled as in Llama 3.1, by wavelength"),
      fixed<&C::rope_factor>("rope-scaling-factor", "low frequencies are divided by this (8)",
                             factor),
      without_name_in_megatron(
          fixed<&C::rope_low_frequency>("rope-scaling-low-freq-factor",
                                        "wavelengths above the original positions divided by this "
                                        "are low frequencies (1)",
                                        above(0))),
      without_name_in_megatron(fixed<&C::rope_high_frequency>(
          "rope-scaling-high-freq-factor",
          "those below the original positions divided by this stay as they are (4)", above(0))),
      without_name_in_megatron(fixed<&C::rope_original_positions>(
          "rope-scaling-original-max-position-embeddings", "positions before the scaling (8192)",
          between(1, most))),
  };
}

std::vector<ModelOption> layer_options() {
  const auto epsilon = numbers("above 0 (and finite) in fp32", [](double e) {
    const auto rounded = static_cast<float>(e);
    return rounded > 0 && rounded <= std::numeric_limits<float>::max();
  });
  return {
      fixed<&C::norm>("normalization", "LayerNorm or RMSNorm (LayerNorm)"),
      fixed<&C::norm_epsilon>("norm-epsilon", "epsilon of the norms (1e-5)", epsilon),
      without_name_in_megatron(
          fixed<&C::activation>("activation", "gelu-tanh, gelu-erf or swiglu (gelu-tanh)")),
      standing_for_others("swiglu", OptionKind::flag, "the same as --activation swiglu", {}, ""),
      without_name_in_megatron(fixed<&C::parallel_residual>(
          "parallel-residual", "attention and MLP both read the block's input")),
      fixed<&C::linear_bias, false>("disable-bias-linear", "projections without biases"),
      fixed<&C::qkv_bias>("add-qkv-bias", "with disable-bias-linear: biases of q, k, v alone"),
      without_name_in_megatron(fixed<&C::attention_output_bias>(
          "add-attention-output-bias", "with disable-bias-linear: of attention's output")),
      without_name_in_megatron(
          fixed<&C::mlp_bias>("add-mlp-bias", "with disable-bias-linear: of the MLP's matrices")),
      fixed<&C::tied_output, false>("untie-embeddings-and-output-weights",
                                    "an output layer of its own"),
      fixed<&C::init_deviation>("init-method-std", "deviation of the initial weights (0.02)",
                                above(0)),
      free_in_branches(fixed<&C::hidden_dropout>(
          "hidden-dropout", "of the residual branches and the embedding (0)", probability())),
      free_in_branches(fixed<&C::attention_dropout>("attention-dropout",
                                                    "of the attention weights (0)", probability())),
  };
}

std::vector<ModelOption> table() {
  std::vector<ModelOption> all = shape_options();
  for (const auto& more : {position_options(), layer_options()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace

std::vector<OptionSpec> model_options() {
  std::vector<OptionSpec> all;
  for (auto& option : table()) all.push_back(std::move(option.spec));
  return all;
}

Settings settings_of(const GptConfig& config) {
  Settings s;
  for (const auto& option : table()) {
    if (option.text != nullptr) s.set_text(option.spec.name, option.text(config));
  }
  return s;
}

GptConfig config_of(const Settings& settings) {
  GptConfig c;
  for (const auto& option : table()) {
    const std::string& name = option.spec.name;
    if (option.take != nullptr && settings.has(name)) option.take(settings, name, c);
  }
  c.norm_bias = c.norm == ops::Norm::layer;
  return c.completed();
}

}  // namespace switchyard
