#include <gmock/gmock.h>

#include <random>

#include "core/error.h"
#include "core/json.h"
#include "model/exchange/foreign_config.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

std::string base_of(const std::string& architecture) {
  if (architecture == "gpt2") {
    return R"({"model_type": "gpt2", "vocab_size": 100, "n_embd": 64, "n_layer": 2, "n_head": 4,
               "n_positions": 32})";
  }
  Json json = parse_json(R"({"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2,
      "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 32})");
  json["model_type"] = architecture;
  if (architecture == "mistral") json["sliding_window"] = nullptr;
  if (architecture != "gpt_neox") json["num_key_value_heads"] = 2;
  return json_text(json);
}

struct Case {
  const char* architecture;
  const char* change;  // members that the base gets
  const char* given;
  const char* allowed;
};

void expect_refusal(const Case& wrong) {
  Json json = parse_json(base_of(wrong.architecture));
  json.update(parse_json(wrong.change));
  const std::string text = json_text(json);
  EXPECT_THAT(([&text] { read_foreign_config(text, "folder/config.json"); }),
              ThrowsMessage<Error>(AllOf(HasSubstr("[folder/config.json]"), HasSubstr(wrong.given),
                                         HasSubstr(wrong.allowed), Not(HasSubstr("\n")))))
      << text;
}

TEST(ForeignRefusals, TheBasesAreRead) {
  for (const std::string& name : architecture_names()) {
    EXPECT_NO_THROW(read_foreign_config(base_of(name), "config.json")) << name;
  }
}

TEST(ForeignRefusals, WhatIsNotComputedIsNamed) {
  const Case cases[] = {
      {"gpt2", R"({"activation_function": "relu"})", "'activation_function' is \"relu\"",
       "gelu_new"},
      {"gpt2", R"({"scale_attn_weights": false})", "'scale_attn_weights' is false", "true"},
      {"gpt2", R"({"scale_attn_weights": null})", "'scale_attn_weights' is null", "true"},
      {"gpt2", R"({"scale_attn_by_inverse_layer_idx": true})", "inverse_layer_idx' is true",
       "false"},
      {"gpt2", R"({"add_cross_attention": true})", "'add_cross_attention' is true", "false"},
      {"gpt2", R"({"embd_pdrop": 0.2})", "'embd_pdrop' is 0.2", "resid_pdrop, 0.1"},
      {"gpt2", R"({"n_ctx": 16})", "'n_ctx' is 16", "n_positions, 32"},
      {"gpt2", R"({"pruned_heads": {"0": [1]}})", "'pruned_heads' is {\"0\":[1]}", "{} or null"},
      {"gpt2", R"({"architectures": ["GPT2ForSequenceClassification"]})",
       "GPT2ForSequenceClassification", "GPT2LMHeadModel or GPT2Model"},
      {"gpt2", R"({"architectures": ["LlamaForCausalLM"]})", "LlamaForCausalLM", "GPT2Model"},
      {"gpt_neox", R"({"rotary_pct": 0.2})", "'rotary_pct' is 0.2", "3 of a head's 16 channels"},
      {"gpt_neox", R"({"rotary_pct": 0.05})", "'rotary_pct' is 0.05", "0 of a head's 16"},
      {"gpt_neox", R"({"rotary_pct": 1.5})", "'rotary_pct' is 1.5", "up to 1"},
      {"gpt_neox", R"({"rotary_emb_base": 100, "rope_theta": 200})", "'rope_theta' is 200",
       "'rotary_emb_base' is 100"},
      {"gpt_neox", R"({"head_dim": 32})", "'head_dim' is 32", "not known"},
      {"gpt_neox", R"({"hidden_act": "silu"})", "'hidden_act' is \"silu\"", "gelu"},
      {"llama", R"({"hidden_act": "gelu"})", "'hidden_act' is \"gelu\"", "silu"},
      {"llama", R"({"rope_scaling": {"type": "linear", "factor": 2.0}})",
       "'rope_scaling.type' is \"linear\"", "llama3"},
      {"llama", R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})",
       "'rope_scaling.rope_type' is \"dynamic\"", "llama3"},
      {"llama", R"({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}})",
       "'rope_parameters.rope_type' is \"yarn\"", "llama3"},
      {"llama", R"({"rope_parameters": {"rope_type": "longrope"}})", "\"longrope\"", "llama3"},
      {"llama", R"({"rope_scaling": {"rope_type": "llama3", "type": "yarn"}})",
       "'rope_scaling.type' is \"yarn\"", "rope_type is llama3"},
      {"llama", R"({"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 1,
        "high_freq_factor": 4}})",
       "'rope_scaling.factor' is missing", "needed"},
      {"llama", R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
        "high_freq_factor": 4}})",
       "'rope_scaling.high_freq_factor' is 4", "above"},
      {"llama", R"({"rope_scaling": {"rope_type": "default", "attention_factor": 2}})",
       "'rope_scaling.attention_factor' is 2", "not known"},
      {"llama", R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})",
       "'rope_parameters.full_attention'", "not known"},
      {"llama", R"({"rope_scaling": 2.0})", "'rope_scaling' is 2.0", "an object"},
      {"llama", R"({"rope_scaling": {"rope_type": "default"}, "rope_parameters": {"rope_type":
        "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}})",
       "'rope_scaling'", "'rope_parameters' says something else"},
      {"llama", R"({"partial_rotary_factor": 0.5})", "'partial_rotary_factor' is 0.5", "(1)"},
      {"llama", R"({"quantization_config": {"bits": 4}})", "'quantization_config' is {\"bits\":4}",
       "null"},
      {"llama", R"({"auto_map": {"AutoModel": "a.B"}})", "'auto_map'", "null"},
      {"llama", R"({"num_local_experts": 8})", "'num_local_experts' is 8",
       "--ignore-config-key num_local_experts"},
      {"llama", R"({"sliding_window": 4096})", "'sliding_window' is 4096", "not known"},
      {"mistral", R"({"sliding_window": 31})", "'sliding_window' is 31", "all 32 positions"},
      {"mistral", R"({"attention_bias": true})", "'attention_bias' is true", "not known"},
      {"qwen2", R"({"use_sliding_window": true, "sliding_window": 16, "max_window_layers": 1})",
       "'use_sliding_window' is true", "layers from 1 on have a window of 16"},
      {"qwen2", R"({"layer_types": ["full_attention", "sliding_attention"]})",
       "\"sliding_attention\"", "full_attention alone"},
      {"llama", R"({"rope_interleaved": true})", "'rope_interleaved' is true", "false"},
      {"llama", R"({"max_sequence_length": 48})", "'max_sequence_length' is 48",
       "max_position_embeddings, 32"},
      {"qwen2", R"({"use_mrope": true})", "'use_mrope' is true", "false"},
  };
  for (const Case& wrong : cases) expect_refusal(wrong);
}

TEST(ForeignRefusals, WrongTypesAndNumbersAreNamed) {
  const Case cases[] = {
      {"llama", R"({"hidden_size": "64"})", "'hidden_size' is \"64\"", "a whole number"},
      {"llama", R"({"hidden_size": 64.0})", "'hidden_size' is 64.0", "a whole number"},
      {"llama", R"({"hidden_size": -64})", "'hidden_size' is -64", "from 1 to 1048576"},
      {"llama", R"({"hidden_size": 18446744073709551615})", "is 18446744073709551615", "from 1"},
      {"llama", R"({"hidden_size": 1e30})", "'hidden_size' is 1e+30", "a whole number"},
      {"llama", R"({"hidden_size": null})", "'hidden_size' is null", "a whole number"},
      {"llama", R"({"hidden_size": 66})", "'hidden_size' is 66", "num_attention_heads 4"},
      {"gpt2", R"({"n_head": 7})", "'n_embd' is 64", "n_head 7"},
      {"llama", R"({"num_hidden_layers": 0})", "'num_hidden_layers' is 0", "from 1"},
      {"llama", R"({"num_hidden_layers": true})", "'num_hidden_layers' is true", "whole"},
      {"llama", R"({"num_key_value_heads": 3})", "'num_key_value_heads' is 3", "divisor"},
      {"llama", R"({"vocab_size": 4294967296})", "'vocab_size' is 4294967296", "to 2147483"},
      {"llama", R"({"rms_norm_eps": "1e-5"})", "'rms_norm_eps' is \"1e-5\"", "a number"},
      {"llama", R"({"rms_norm_eps": 0})", "'rms_norm_eps' is 0", "above 0"},
      {"llama", R"({"rms_norm_eps": 1e-60})", "--norm-epsilon 1e-60", "fp32"},
      {"llama", R"({"rope_theta": 0.5})", "'rope_theta' is 0.5", "above 1"},
      {"llama", R"({"attention_bias": null})", "'attention_bias' is null", "true or false"},
      {"llama", R"({"attention_bias": 1})", "'attention_bias' is 1", "true or false"},
      {"llama", R"({"tie_word_embeddings": "no"})", "'tie_word_embeddings' is \"no\"", "true"},
      {"llama", R"({"attention_dropout": 1})", "'attention_dropout' is 1", "0 <= p < 1"},
      {"llama", R"({"initializer_range": -1})", "'initializer_range' is -1", "above 0"},
      {"llama", R"({"model_type": "mixtral"})", "'model_type' is \"mixtral\"", "gpt_neox"},
      {"llama", R"({"model_type": null})", "'model_type' is null", "a text"},
      {"llama", R"({"architectures": "LlamaForCausalLM"})", "'architectures'", "allowed"},
      {"llama", R"({"head_dim": 0})", "'head_dim' is 0", "from 1"},
      {"qwen2", R"({"layer_types": "full"})", "'layer_types' is \"full\"", "a list"},
      {"gpt2", R"({"n_inner": 0})", "'n_inner' is 0", "from 1"},
  };
  for (const Case& wrong : cases) expect_refusal(wrong);
}

TEST(ForeignRefusals, NullsThatTransformersDoNotTakeAreNamed) {
  const Case cases[] = {
      {"llama", R"({"rope_theta": null})", "'rope_theta' is null", "a number"},
      {"llama", R"({"rope_parameters": {"rope_type": "default", "rope_theta": null}})",
       "'rope_parameters.rope_theta' is null", "a number"},
      {"llama", R"({"rope_scaling": {"rope_type": null}})", "'rope_scaling.rope_type' is null",
       "a text"},
      {"llama", R"({"rope_scaling": {"rope_type": null, "type": "default"}})",
       "'rope_scaling.rope_type' is null", "a text"},
      {"llama", R"({"rope_scaling": {"type": null}})", "'rope_scaling.type' is null", "a text"},
      {"llama", R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
        "high_freq_factor": 4, "original_max_position_embeddings": null}})",
       "'rope_scaling.original_max_position_embeddings' is null", "a whole number"},
      {"llama", R"({"partial_rotary_factor": null})", "'partial_rotary_factor' is null",
       "a number"},
      {"llama", R"({"max_sequence_length": null})", "'max_sequence_length' is null", "a whole"},
      {"gpt_neox", R"({"rotary_pct": null, "partial_rotary_factor": 0.3})", "'rotary_pct' is null",
       "a number"},
      {"gpt_neox", R"({"rotary_emb_base": null})", "'rotary_emb_base' is null", "a number"},
      {"gpt_neox", R"({"rotary_emb_base": 10000, "rope_theta": null})", "'rope_theta' is null",
       "a number"},
      {"qwen2", R"({"max_window_layers": null})", "'max_window_layers' is null", "a whole number"},
      {"gpt2", R"({"n_ctx": null})", "'n_ctx' is null", "a whole number"},
  };
  for (const Case& wrong : cases) expect_refusal(wrong);
}

void expect_refused_text(const std::string& text, const char* what) {
  EXPECT_THAT(([&text] { read_foreign_config(text, "config.json"); }),
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("[config.json]"), HasSubstr(what), Not(HasSubstr("\n")))));
}

TEST(ForeignRefusals, WhatIsNoConfiguration) {
  expect_refused_text("", "no JSON");
  expect_refused_text("{\"model_type\": \"llama\"", "no JSON");
  expect_refused_text("[1, 2]", "no JSON object but [1,2]");
  expect_refused_text("null", "no JSON object but null");
  expect_refused_text("{}", "'model_type' is missing");
  expect_refused_text(R"({"model_type": "llama", "model_type": "gpt2"})", "'model_type' twice");
  expect_refused_text(R"({"model_type": "llama", "x": {"a": 1, "b": 2, "a": 3}})", "'a' twice");
  expect_refused_text(R"({"model_type": "llama", "rms_norm_eps": 1e999})", "no JSON");
  expect_refused_text(R"({"model_type": "llama", "rms_norm_eps": NaN})", "no JSON");
  expect_refused_text("{\"model_type\": \"\xff\"}", "no JSON");
  expect_refused_text(base_of("llama") + std::string("\0{", 2), "has a NUL");
  expect_refused_text(std::string(100000, '['), "deeper than 64");
  expect_refused_text(R"({"model_type": "llama", "long": ")" + std::string(1000, 'x') + "\"}",
                      "xxx ...; the key is not known");
}

TEST(ForeignRefusals, EveryNeededKeyIsMissed) {
  for (const std::string& name : architecture_names()) {
    const Json whole = parse_json(base_of(name));
    for (const auto& [key, value] : whole.items()) {
      if (key == "num_key_value_heads" || key == "sliding_window") continue;
      Json json = whole;
      json.erase(key);
      expect_refused_text(json_text(json), ("'" + key + "' is missing").c_str());
    }
  }
  Json json = parse_json(base_of("mistral"));
  json.erase("sliding_window");  // theirs is 4096 then
  json["max_position_embeddings"] = 8192;
  expect_refused_text(json_text(json), "'sliding_window' is missing; which means 4096");
}

// Reads it, or throws an Error of one line.
void expect_sound(const std::string& text) {
  try {
    const ForeignConfig foreign = read_foreign_config(text, "config.json");
    foreign.config.validate();
  } catch (const Error& problem) {
    EXPECT_THAT(problem.what(), AllOf(HasSubstr("[config.json]"), Not(HasSubstr("\n")))) << text;
  }
}

TEST(ForeignRefusals, AnyValueOfAnyKeyIsReadOrRefused) {
  const Json values = parse_json(R"([null, true, false, 0, -1, 1, 3, 1e300, -0.5, 1e-300,
      9223372036854775807, 18446744073709551615, "", "x", "gelu", [], [1], ["a", null], {},
      {"a": 1}, {"rope_type": "llama3"}, {"rope_type": 3}, {"type": null, "factor": []},
      {"rope_type": "default", "rope_theta": "x"}, {"partial_rotary_factor": 1e300}])");
  const Json keys = parse_json(R"(["rope_scaling", "rope_parameters", "rope_theta", "rotary_pct",
      "rotary_emb_base", "partial_rotary_factor", "head_dim", "n_inner", "n_ctx", "hidden_act",
      "activation_function", "sliding_window", "use_sliding_window", "layer_types",
      "max_window_layers", "max_sequence_length", "rope_interleaved", "tie_word_embeddings",
      "attention_bias", "mlp_bias", "architectures",
      "pruned_heads", "rms_norm_eps", "layer_norm_eps", "initializer_range", "embd_pdrop",
      "attention_dropout", "eos_token_id", "per_layer_config", "unknown"])");
  for (const std::string& name : architecture_names()) {
    const Json base = parse_json(base_of(name));
    for (const Json& value : values) {
      for (const auto& [key, unused] : base.items()) {
        Json json = base;
        json[key] = value;
        expect_sound(json_text(json));
      }
      for (const Json& key : keys) {
        Json json = base;
        json[key.get<std::string>()] = value;
        expect_sound(json_text(json));
      }
    }
  }
}

TEST(ForeignRefusals, DamagedTextIsReadOrRefused) {
  std::mt19937 random(6);
  const std::string text = base_of("qwen2");
  for (int i = 0; i < 5000; ++i) {
    std::string damaged = text;
    for (uint32_t change = 0; change <= random() % 3; ++change) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    if (i % 4 == 0) damaged.resize(random() % damaged.size());
    expect_sound(damaged);
  }
}

TEST(ForeignRefusals, AKeyOfTheComputationCannotBeIgnored) {
  EXPECT_THAT(
      [] { read_foreign_config(base_of("llama"), "config.json", {"hidden_size"}); },
      ThrowsMessage<Error>(AllOf(HasSubstr("'hidden_size' is 64"), HasSubstr("cannot be"))));
}

TEST(ForeignRefusals, AKeyThatIsNotThereCannotBeIgnored) {
  EXPECT_THAT(
      [] { read_foreign_config(base_of("llama"), "folder/config.json", {"nope"}); },
      ThrowsMessage<Error>(AllOf(HasSubstr("[folder/config.json]"),
                                 HasSubstr("--ignore-config-key \"nope\": the file has no such"))));
}

TEST(ForeignRefusals, WhatAnArchitectureHasNotIsNotWritten) {
  GptConfig c = preset("llama-tiny");
  EXPECT_THAT(([&c] { write_foreign_config(c, Architecture::gpt2, DType::f32); }),
              ThrowsMessage<Error>(HasSubstr("gpt2 has no --position-embedding-type rope")));
  c.max_positions = 0;
  EXPECT_THAT(([&c] { write_foreign_config(c, Architecture::llama, DType::f32); }),
              ThrowsMessage<Error>(HasSubstr("--max-position-embeddings 0")));
  c.max_positions = 16;
  EXPECT_THAT(([&c] { write_foreign_config(c, Architecture::llama, DType::f64); }),
              ThrowsMessage<Error>(HasSubstr("weights of f64")));
}

}  // namespace
}  // namespace switchyard
