#include <fmt/ranges.h>

#include <set>

#include "core/error.h"
#include "core/json.h"
#include "model/config.h"

namespace switchyard {

namespace {

constexpr const char* where = "model configuration";

template <class Enum>
struct NamedValue {
  const char* name;
  Enum value;
};
constexpr NamedValue<Positions> names_of(Positions, int i) {
  constexpr NamedValue<Positions> table[] = {{"learned", Positions::learned},
                                             {"rotary", Positions::rotary}};
  return i < 2 ? table[i] : NamedValue<Positions>{};
}
constexpr NamedValue<ops::Norm> names_of(ops::Norm, int i) {
  constexpr NamedValue<ops::Norm> table[] = {{"layer", ops::Norm::layer}, {"rms", ops::Norm::rms}};
  return i < 2 ? table[i] : NamedValue<ops::Norm>{};
}
constexpr NamedValue<ops::Activation> names_of(ops::Activation, int i) {
  constexpr NamedValue<ops::Activation> table[] = {{"gelu_tanh", ops::Activation::gelu_tanh},
                                                   {"gelu_erf", ops::Activation::gelu_erf},
                                                   {"swiglu", ops::Activation::swiglu}};
  return i < 3 ? table[i] : NamedValue<ops::Activation>{};
}

template <class T>
Json write(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    for (int i = 0; names_of(T{}, i).name != nullptr; ++i) {
      if (names_of(T{}, i).value == value) return names_of(T{}, i).name;
    }
    fail(where, "a value of {} has no name", static_cast<int>(value));
  } else {
    return value;
  }
}

template <class Enum>
Enum read_name(const char* field, const std::string& given) {
  std::string allowed;
  for (int i = 0; names_of(Enum{}, i).name != nullptr; ++i) {
    if (given == names_of(Enum{}, i).name) return names_of(Enum{}, i).value;
    allowed += std::string(i == 0 ? "" : ", ") + names_of(Enum{}, i).name;
  }
  fail(where, "{} is '{}'; allowed: {}", field, given, allowed);
}

template <class T>
void read(const char* field, const Json& json, T& value) {
  const auto expect = [&](bool ok, const char* type) {
    check(ok, where, "{} is {}; {} is expected", field, json_text(json), type);
  };
  if constexpr (std::is_enum_v<T>) {
    expect(json.is_string(), "a name");
    value = read_name<T>(field, json.get<std::string>());
  } else if constexpr (std::is_same_v<T, bool>) {
    expect(json.is_boolean(), "true or false");
    value = json.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    expect(json.is_number_integer(), "a whole number");
    value = json.get<T>();
  } else {
    expect(json.is_number(), "a number");
    value = json.get<T>();
  }
}

// Calls visit(name, field) for every field of a configuration.
template <class Config, class Visit>
void visit_fields(Config& c, const Visit& visit) {
  visit("layers", c.layers);
  visit("hidden", c.hidden);
  visit("heads", c.heads);
  visit("query_groups", c.query_groups);
  visit("head_dim", c.head_dim);
  visit("ffn_hidden", c.ffn_hidden);
  visit("vocabulary", c.vocabulary);
  visit("max_positions", c.max_positions);
  visit("positions", c.positions);
  visit("rotary_base", c.rotary_base);
  visit("rotary_percent", c.rotary_percent);
  visit("rope_scaling", c.rope_scaling);
  visit("rope_factor", c.rope_factor);
  visit("rope_low_frequency", c.rope_low_frequency);
  visit("rope_high_frequency", c.rope_high_frequency);
  visit("rope_original_positions", c.rope_original_positions);
  visit("norm", c.norm);
  visit("norm_epsilon", c.norm_epsilon);
  visit("activation", c.activation);
  visit("parallel_residual", c.parallel_residual);
  visit("linear_bias", c.linear_bias);
  visit("qkv_bias", c.qkv_bias);
  visit("attention_output_bias", c.attention_output_bias);
  visit("mlp_bias", c.mlp_bias);
  visit("norm_bias", c.norm_bias);
  visit("tied_output", c.tied_output);
  visit("hidden_dropout", c.hidden_dropout);
  visit("attention_dropout", c.attention_dropout);
  visit("init_deviation", c.init_deviation);
}

}  // namespace

std::string GptConfig::to_json() const {
  Json json;
  visit_fields(*this, [&](const char* name, const auto& field) { json[name] = write(field); });
  return json_text(json, 2);
}

GptConfig GptConfig::from_json(const std::string& text) {
  const Json json = parse_json_or_discard(text);
  check(json.is_object(), where, "the text '{}' is no JSON object", text.substr(0, 60));
  GptConfig config;
  std::set<std::string> known;
  visit_fields(config, [&](const char* name, auto& field) {
    known.insert(name);
    if (json.contains(name)) read(name, json.at(name), field);
  });
  for (const auto& [name, value] : json.items()) {
    check(known.contains(name), where, "'{}' is no field of a model; fields are: {}", name,
          fmt::join(known, ", "));
  }
  config.validate();
  return config.completed();
}

}  // namespace switchyard
