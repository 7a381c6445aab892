#include "model/exchange/config_keys.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "core/error.h"

namespace switchyard {

using Says = ConfigKey::Says;

ConfigKey vocabulary_key() {
  return {"vocab_size", Says::computation,
          [](const ConfigReader& r, GptConfig& c) {
            c.vocabulary = r.whole("vocab_size", 1, std::numeric_limits<int32_t>::max() - 128);
          },
          [](const GptConfig& c) { return Json(c.vocabulary); }};
}

ConfigKey positions_key(const char* name) {
  return {name, Says::computation,
          [name](const ConfigReader& r, GptConfig& c) {
            c.max_positions = r.whole(name, 1, std::numeric_limits<int32_t>::max());
          },
          [](const GptConfig& c) {
            check(c.max_positions > 0, "config.json",
                  "--max-position-embeddings {}; how many positions the model was made for has to "
                  "be known",
                  c.max_positions);
            return Json(c.max_positions);
          }};
}

ConfigKey query_groups_key(std::optional<int64_t> absent) {
  static constexpr const char* name = "num_key_value_heads";
  return {name, Says::computation,
          [absent](const ConfigReader& r, GptConfig& c) {
            c.query_groups = r.is_null(name)
                                 ? c.heads
                                 : r.whole(name, 1, largest_model_size, absent.value_or(c.heads));
            if (c.heads % c.query_groups != 0) {
              r.refuse(name,
                       fmt::format("a divisor of num_attention_heads {} is allowed", c.heads));
            }
          },
          [](const GptConfig& c) { return Json(c.query_groups); }};
}

ConfigKey head_dim_key() {
  return {"head_dim", Says::computation,
          [](const ConfigReader& r, GptConfig& c) {
            c.head_dim = r.is_null("head_dim") ? 0 : r.whole("head_dim", 1, largest_model_size, 0);
          },
          [](const GptConfig& c) { return Json(c.head_dim); }};
}

ConfigKey gelu_key(const char* name, const char* absent) {
  // These differ in how they are computed, and in fp32 by roundings alone.
  static const std::set<std::string> tanh_forms{"gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh",
                                                "gelu_fast", "gelu_accurate"};
  static const std::set<std::string> erf_forms{"gelu", "gelu_python"};
  return {name, Says::computation,
          [name, absent](const ConfigReader& r, GptConfig& c) {
            const std::string given = r.text(name, absent);
            if (!tanh_forms.contains(given) && !erf_forms.contains(given)) {
              r.refuse(name, fmt::format("allowed: {}, {}", fmt::join(erf_forms, ", "),
                                         fmt::join(tanh_forms, ", ")));
            }
            c.activation =
                erf_forms.contains(given) ? ops::Activation::gelu_erf : ops::Activation::gelu_tanh;
          },
          [](const GptConfig& c) {
            return Json(c.activation == ops::Activation::gelu_erf ? "gelu" : "gelu_new");
          }};
}

ConfigKey silu_key(const char* name) {
  return {name, Says::computation,
          [name](const ConfigReader& r, GptConfig&) {
            const std::string given = r.text(name, "silu");
            if (given != "silu" && given != "swish") r.refuse(name, "allowed: silu, swish");
          },
          [](const GptConfig&) { return Json("silu"); }};
}

ConfigKey attention_bias_key(bool absent) {
  static constexpr const char* name = "attention_bias";
  return {name, Says::computation,
          [absent](const ConfigReader& r, GptConfig& c) {
            c.qkv_bias = c.attention_output_bias = r.flag(name, absent);
          },
          [](const GptConfig& c) { return Json(c.has_qkv_bias()); }};
}

ConfigKey fixed_key(const char* name, std::initializer_list<Json> allowed) {
  std::vector<Json> values(allowed);
  // A null is false there.
  if (std::find(values.begin(), values.end(), Json(true)) == values.end()) values.emplace_back();
  return {name,
          Says::fixed,
          [name, values = std::move(values)](const ConfigReader& r, GptConfig&) {
            const Json null;
            const Json* given = r.is_null(name) ? &null : r.find(name);
            if (given == nullptr || std::find(values.begin(), values.end(), *given) != values.end())
              return;
            std::vector<std::string> words;
            words.reserve(values.size());
            for (const Json& value : values) words.push_back(short_text(value));
            r.refuse(name, fmt::format("{} alone is computed here", fmt::join(words, " or ")));
          },
          {}};
}

ConfigKey read_elsewhere(const char* name) { return {name, Says::computation, {}, {}}; }

ConfigKeys keys_that_say_nothing(std::initializer_list<const char*> names) {
  ConfigKeys keys;
  keys.reserve(names.size());
  for (const char* name : names) keys.push_back({name, Says::nothing, {}, {}});
  return keys;
}

void append(ConfigKeys& to, ConfigKeys more) {
  std::move(more.begin(), more.end(), std::back_inserter(to));
}

}  // namespace switchyard
