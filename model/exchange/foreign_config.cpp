#include "model/exchange/foreign_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "model/exchange/config_keys.h"

namespace switchyard {

namespace {

using Says = ConfigKey::Says;

ArchitectureKeys keys_of(Architecture architecture) {
  ArchitectureKeys (*const tables[])() = {gpt2_keys, gpt_neox_keys, llama_keys, mistral_keys,
                                          qwen2_keys};
  ArchitectureKeys all = tables[static_cast<size_t>(architecture)]();
  append(all.keys, common_keys());
  append(all.keys, {read_elsewhere("model_type"), read_elsewhere("architectures")});
  return all;
}

const ConfigKey* find_key(const ConfigKeys& keys, const std::string& name) {
  const auto found = std::find_if(keys.begin(), keys.end(),
                                  [&](const ConfigKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

Architecture read_architecture(const ConfigReader& r) {
  const auto found = architecture_named(r.text("model_type"));
  if (!found) {
    r.refuse("model_type",
             fmt::format("known architectures: {}", fmt::join(architecture_names(), ", ")));
  }
  return *found;
}

void check_class(const ConfigReader& r, const ArchitectureKeys& all) {
  const Json* classes = r.find("architectures");
  if (classes == nullptr) return;
  const auto is_accepted = [&](const Json& name) {
    return name == all.class_name ||
           std::any_of(all.accepts.begin(), all.accepts.end(),
                       [&](const std::string& accepted) { return name == accepted; });
  };
  if (!classes->is_array() || !std::all_of(classes->begin(), classes->end(), is_accepted)) {
    r.refuse("architectures",
             fmt::format("{} or {} is allowed", all.class_name, fmt::join(all.accepts, " or ")));
  }
}

void check_keys(const ConfigReader& r, const Json& json, const ConfigKeys& keys) {
  for (const auto& [name, value] : json.items()) {
    const ConfigKey* key = find_key(keys, name);
    if (!r.ignores(name)) {
      if (key == nullptr) {
        r.refuse(name, fmt::format("the key is not known; if the model computes the same without "
                                   "it: --ignore-config-key {}",
                                   name));
      }
      continue;
    }
    if (key != nullptr && key->says == Says::computation) {
      r.refuse(name, "the model's computation needs it, it cannot be ignored");
    }
    r.remark(
        fmt::format("'{}' ({}) of {} is ignored, as asked", name, short_text(value), r.origin()));
  }
}

// All biases are linear_bias alone.
void settle_biases(GptConfig& c) {
  if (!c.has_qkv_bias() || !c.has_attention_output_bias() || !c.has_mlp_bias()) return;
  c.linear_bias = true;
  c.qkv_bias = c.attention_output_bias = c.mlp_bias = false;
}

void check_heads(const ConfigReader& r, Architecture architecture, const GptConfig& c) {
  const bool apart = architecture == Architecture::mistral || architecture == Architecture::qwen2;
  if ((apart && c.head_dim != 0) || c.hidden % c.heads == 0) return;
  const bool gpt2 = architecture == Architecture::gpt2;
  r.refuse(gpt2 ? "n_embd" : "hidden_size",
           fmt::format("a multiple of {} {} is allowed", gpt2 ? "n_head" : "num_attention_heads",
                       c.heads));
}

GptConfig read_keys(const ConfigReader& r, Architecture architecture, const ArchitectureKeys& all) {
  GptConfig c = all.start;
  for (const ConfigKey& key : all.keys) {
    if (key.read == nullptr || r.ignores(key.name)) continue;
    key.read(r, c);
    if (c.hidden != 0 && c.heads != 0) check_heads(r, architecture, c);
  }
  settle_biases(c);
  try {
    c = c.completed();
    c.validate();
  } catch (const Error& problem) {
    fail(r.origin(), "no model that is computed here: {}", problem.what());
  }
  return c;
}

std::string torch_name(DType dtype) {
  if (dtype == DType::bf16) return "bfloat16";
  if (dtype == DType::f16) return "float16";
  check(dtype == DType::f32, "config.json", "weights of {}; f32, bf16 and f16 are allowed",
        name_of(dtype));
  return "float32";
}

// What the original says beside the computation, where the written architecture has that key.
void keep(const std::string& original, const ConfigKeys& keys, std::map<std::string, Json>& out) {
  const Json json = parse_foreign_json(original, "config.json");
  check(json.is_object(), "config.json", "the original is no JSON object");
  for (const auto& [name, value] : json.items()) {
    const ConfigKey* key = find_key(keys, name);
    if (key != nullptr && key->says == Says::nothing) out[name] = value;
  }
}

}  // namespace

ForeignConfig read_foreign_config(const std::string& text, const std::string& origin,
                                  const std::vector<std::string>& ignored) {
  const Json json = parse_foreign_json(text, origin);
  check(json.is_object(), origin, "it is no JSON object but {}", short_text(json));
  for (const std::string& name : ignored) {
    if (!json.contains(name)) {
      fail(origin, "--ignore-config-key {}: the file has no such key", short_text(name));
    }
  }
  ForeignConfig result;
  const ConfigReader reader(json, origin, {ignored.begin(), ignored.end()}, result.remarks);
  result.architecture = read_architecture(reader);
  const ArchitectureKeys all = keys_of(result.architecture);
  check_class(reader, all);
  check_keys(reader, json, all.keys);
  result.config = read_keys(reader, result.architecture, all);
  return result;
}

std::string write_foreign_config(const GptConfig& config, Architecture architecture, DType dtype,
                                 const std::string& original,
                                 std::optional<int64_t> end_of_document) {
  architecture_of(config, architecture);
  const GptConfig c = config.completed();
  const ArchitectureKeys all = keys_of(architecture);
  std::map<std::string, Json> out;
  if (original.empty()) {
    // Documents begin behind the end of another.
    out["bos_token_id"] = out["eos_token_id"] =
        end_of_document ? Json(*end_of_document) : Json(nullptr);
  } else {
    keep(original, all.keys, out);
  }
  for (const ConfigKey& key : all.keys) {
    if (key.write != nullptr) out[key.name] = key.write(c);
  }
  out["model_type"] = name_of(architecture);
  out["architectures"] = Json::array({all.class_name});
  out["torch_dtype"] = torch_name(dtype);
  Json json = Json::object();
  for (const auto& [name, value] : out) json[name] = value;
  return json_text(json, 2) + "\n";
}

std::vector<std::string> left_out_of_config(const GptConfig& config, Architecture architecture) {
  std::vector<std::string> remarks;
  const bool has_it = architecture == Architecture::gpt2 || architecture == Architecture::gpt_neox;
  if (config.hidden_dropout != 0 && !has_it) {
    remarks.push_back(
        fmt::format("--hidden-dropout {}: a config.json of {} has no such key; it is "
                    "left out, as dropout is of training alone",
                    config.hidden_dropout, name_of(architecture)));
  }
  return remarks;
}

}  // namespace switchyard
