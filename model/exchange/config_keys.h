#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "model/exchange/architecture.h"
#include "model/exchange/config_reader.h"

// Private to model/exchange: the keys of a config.json, a row for each.
namespace switchyard {

struct ConfigKey {
  enum class Says : uint8_t {
    computation,  // a field of GptConfig, or part of one
    fixed,        // must have a value with which nothing else is computed; may be ignored
    nothing,      // of the computation; kept from one config.json to the next
    origin,       // nothing of the computation, and true of that file alone
  };
  using Read = std::function<void(const ConfigReader&, GptConfig&)>;
  using Write = std::function<Json(const GptConfig&)>;

  std::string name;
  Says says = Says::nothing;
  Read read;    // none: says nothing, or another row reads it
  Write write;  // none: not written
};
using ConfigKeys = std::vector<ConfigKey>;

// What a config.json of one architecture is made of.
struct ArchitectureKeys {
  GptConfig start;                   // what its layers are, whatever the keys
  std::string class_name;            // "GPT2LMHeadModel"
  std::vector<std::string> accepts;  // of "architectures", beside it
  ConfigKeys keys;
};
ArchitectureKeys gpt2_keys();
ArchitectureKeys gpt_neox_keys();
ArchitectureKeys llama_keys();
ArchitectureKeys mistral_keys();
ArchitectureKeys qwen2_keys();

// Rows of fields. `absent` is what transformers take where the key is not there.
template <auto field>
ConfigKey size_key(const char* name) {
  return {name, ConfigKey::Says::computation,
          [name](const ConfigReader& r, GptConfig& c) {
            c.*field = r.whole(name, 1, largest_model_size);
          },
          [](const GptConfig& c) { return Json(c.*field); }};
}
template <auto field>
ConfigKey flag_key(const char* name, bool absent) {
  return {name, ConfigKey::Says::computation,
          [name, absent](const ConfigReader& r, GptConfig& c) { c.*field = r.flag(name, absent); },
          [](const GptConfig& c) { return Json(c.*field); }};
}
template <auto field>
ConfigKey positive_key(const char* name, double absent) {
  return {name, ConfigKey::Says::computation,
          [name, absent](const ConfigReader& r, GptConfig& c) {
            c.*field = r.real(name, absent);
            if (!(c.*field > 0)) r.refuse(name, "above 0 is allowed");
          },
          [](const GptConfig& c) { return Json(c.*field); }};
}
template <auto field>
ConfigKey probability_key(const char* name, double absent) {
  return {name, ConfigKey::Says::computation,
          [name, absent](const ConfigReader& r, GptConfig& c) {
            c.*field = r.real(name, absent);
            if (!(c.*field >= 0 && c.*field < 1)) r.refuse(name, "0 <= p < 1 is allowed");
          },
          [](const GptConfig& c) { return Json(c.*field); }};
}
ConfigKey vocabulary_key();
ConfigKey positions_key(const char* name);
// Absent or null: as many as query heads, or without a default that.
ConfigKey query_groups_key(std::optional<int64_t> absent);
ConfigKey head_dim_key();
ConfigKey gelu_key(const char* name, const char* absent);
ConfigKey silu_key(const char* name);
// Biases of q, k, v and of attention's output.
ConfigKey attention_bias_key(bool absent);

// The rows of rotary positions: theta, perhaps part of a head ("": none), "rope_scaling",
// "rope_parameters".
ConfigKeys rope_keys(const std::string& theta, const std::string& percent, double absent_percent);

// Rows of keys that are no fields.
ConfigKey fixed_key(const char* name, std::initializer_list<Json> allowed);
ConfigKey read_elsewhere(const char* name);
ConfigKeys keys_that_say_nothing(std::initializer_list<const char*> names);
ConfigKeys common_keys();  // of every config.json

void append(ConfigKeys& to, ConfigKeys more);

}  // namespace switchyard
