#include <gmock/gmock.h>

#include "core/error.h"
#include "core/json.h"
#include "model/exchange/foreign_config.h"
#include "tests/model/foreign_models.h"

namespace switchyard {
namespace {

using test::all_architectures;
using test::random_model;
using testing::HasSubstr;

GptConfig read(const std::string& text) { return read_foreign_config(text, "config.json").config; }

TEST(ForeignConfig, WhatIsWrittenIsReadBack) {
  std::mt19937 random(3);
  for (const Architecture architecture : all_architectures) {
    for (int i = 0; i < 200; ++i) {
      const GptConfig c = random_model(architecture, random);
      const std::string text = write_foreign_config(c, architecture, DType::bf16);
      const ForeignConfig back = read_foreign_config(text, "config.json");
      ASSERT_EQ(back.architecture, architecture);
      ASSERT_EQ(back.config, c) << text << c.to_json() << back.config.to_json();
      ASSERT_THAT(back.remarks, testing::IsEmpty());
    }
  }
}

// A width that ours rounds down is written as what transformers do not round.
TEST(ForeignConfig, TheRotatedPartIsWrittenAsTransformersCount) {
  for (int64_t channels = 2; channels <= 256; channels += 2) {
    for (int64_t part = 1; part < 40; ++part) {
      GptConfig c = preset("pythia-tiny");
      c.heads = c.query_groups = 2;
      c.head_dim = channels;
      c.hidden = 2 * channels;
      c.rotary_percent = static_cast<double>(part) / 40;
      c.max_positions = 16;
      if (c.rotary_dim() < 2) continue;
      const GptConfig back = read(write_foreign_config(c, Architecture::gpt_neox, DType::f32));
      ASSERT_EQ(back.rotary_dim(), c.rotary_dim());
      ASSERT_EQ(static_cast<int64_t>(static_cast<double>(channels) * back.rotary_percent),
                c.rotary_dim());
    }
  }
}

GptConfig written_by_4(const std::string& name) {
  const std::pair<const char*, const char*> texts[] = {
      {"gpt2", R"({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256,
        "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024,
        "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
        "summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
        "summary_type": "cls_index", "summary_use_proj": true,
        "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}},
        "vocab_size": 50257})"},
      {"pythia-160m", R"({"architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0,
        "eos_token_id": 0, "hidden_act": "gelu", "hidden_size": 768, "initializer_range": 0.02,
        "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048,
        "model_type": "gpt_neox", "num_attention_heads": 12, "num_hidden_layers": 12,
        "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": false,
        "torch_dtype": "float16", "transformers_version": "4.24.0", "use_cache": true,
        "use_parallel_residual": true, "vocab_size": 50304})"},
      {"Llama-2-7b", R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008,
        "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_scaling": null, "tie_word_embeddings": false,
        "torch_dtype": "float16", "transformers_version": "4.31.0.dev0", "use_cache": true,
        "vocab_size": 32000})"},
      {"Llama-3.2-1B", R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": 128001, "head_dim": 64,
        "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
        "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version":
        "4.45.0.dev0", "use_cache": true, "vocab_size": 128256})"},
      {"Mistral-7B-v0.3", R"({"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0,
        "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
        "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768,
        "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "transformers_version": "4.42.0.dev0", "use_cache": true, "vocab_size": 32768})"},
      {"Qwen2.5-0.5B", R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
        "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896,
        "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768,
        "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 14,
        "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16", "transformers_version": "4.40.1", "use_cache": true,
        "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936})"},
  };
  for (const auto& [model, text] : texts) {
    if (name == model) return read(text);
  }
  return {};
}

TEST(ForeignConfig, ReadsThePublishedModels) {
  // Parameters as published.
  EXPECT_EQ(written_by_4("gpt2").parameters(), 124439808);
  EXPECT_EQ(written_by_4("pythia-160m").parameters(), 162322944);
  EXPECT_EQ(written_by_4("Llama-2-7b").parameters(), 6738415616);
  EXPECT_EQ(written_by_4("Llama-3.2-1B").parameters(), 1235814400);
  EXPECT_EQ(written_by_4("Mistral-7B-v0.3").parameters(), 7248023552);
  EXPECT_EQ(written_by_4("Qwen2.5-0.5B").parameters(), 494032768);
  EXPECT_EQ(written_by_4("gpt2").hidden_dropout, 0.1);
  EXPECT_EQ(written_by_4("pythia-160m").rotary_dim(), 16);
  EXPECT_EQ(written_by_4("Mistral-7B-v0.3").rotary_base, 1000000.0);
  const GptConfig scaled = written_by_4("Llama-3.2-1B");
  EXPECT_TRUE(scaled.rope_scaling);
  EXPECT_EQ(scaled.rope_factor, 32);
  EXPECT_EQ(scaled.rope_original_positions, 8192);
  EXPECT_EQ(scaled.max_positions, 131072);
}

TEST(ForeignConfig, ReadsOldAndConvertedFiles) {
  const GptConfig gpt2 = read(R"({"model_type": "gpt2", "vocab_size": 100, "n_embd": 64,
      "n_layer": 2, "n_head": 4, "n_positions": 32, "n_inner": null, "_num_labels": 1,
      "custom_pipelines": {"a": {"impl": "b.C"}}})");
  EXPECT_EQ(gpt2.ffn_hidden, 256);
  const Json llama = parse_json(R"({"model_type": "llama", "vocab_size": 100, "hidden_size": 64,
      "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
      "head_dim": null, "num_key_value_heads": null, "rope_scaling": null, "rope_parameters": null,
      "is_llama_config": true, "rope_interleaved": false, "max_sequence_length": 48})");
  EXPECT_EQ(read(json_text(llama)).max_positions, 48);
  Json both = llama;
  both["max_position_embeddings"] = 48;
  EXPECT_EQ(read(json_text(both)), read(json_text(llama)));
}

TEST(ForeignConfig, ReadsWhatTransformers5Write) {
  const GptConfig neox = read(R"({"model_type": "gpt_neox", "architectures": null,
      "attention_bias": true, "attention_dropout": 0.0, "classifier_dropout": 0.1,
      "dtype": "float32", "hidden_act": "gelu", "hidden_dropout": 0.0, "hidden_size": 64,
      "intermediate_size": 256, "is_decoder": false, "layer_norm_eps": 1e-05,
      "max_position_embeddings": 128, "num_attention_heads": 4, "num_hidden_layers": 2,
      "rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 500.0,
      "rope_type": "default"}, "vocab_size": 100})");
  EXPECT_EQ(neox.rotary_dim(), 8);
  EXPECT_EQ(neox.rotary_base, 500);
  EXPECT_FALSE(neox.tied_output);
  EXPECT_TRUE(neox.parallel_residual);
  const GptConfig qwen = read(R"({"model_type": "qwen2", "hidden_size": 64,
      "intermediate_size": 256, "layer_types": ["full_attention", "full_attention"],
      "max_position_embeddings": 128, "max_window_layers": 28, "num_attention_heads": 4,
      "num_hidden_layers": 2, "num_key_value_heads": null, "rope_parameters": {"rope_theta": 100,
      "rope_type": "llama3", "factor": 2, "low_freq_factor": 1, "high_freq_factor": 4},
      "sliding_window": null, "use_sliding_window": false, "vocab_size": 100})");
  EXPECT_EQ(qwen.query_groups, 4);
  EXPECT_TRUE(qwen.qkv_bias);
  EXPECT_EQ(qwen.rope_original_positions, 128);
  EXPECT_EQ(qwen.rotary_base, 100);
}

TEST(ForeignConfig, KeepsWhatSaysNothingOfTheComputation) {
  GptConfig c = preset("gpt2-tiny");
  const std::string original = R"({"model_type": "gpt2", "eos_token_id": [7, 8], "n_layer": 99,
      "task_specific_params": {"a": {"b": 1}}, "torch_dtype": "float16", "unknown": 1,
      "transformers_version": "4.1.0", "pad_token_id": null})";
  const Json json =
      parse_json(write_foreign_config(c, Architecture::gpt2, DType::bf16, original, 5));
  EXPECT_EQ(json.at("eos_token_id"), Json::parse("[7, 8]"));
  EXPECT_EQ(json.at("task_specific_params").at("a").at("b"), 1);
  EXPECT_EQ(json.at("n_layer"), c.layers);
  EXPECT_EQ(json.at("torch_dtype"), "bfloat16");
  EXPECT_TRUE(json.contains("pad_token_id"));
  EXPECT_FALSE(json.contains("unknown"));
  EXPECT_FALSE(json.contains("transformers_version"));

  const Json alone = parse_json(write_foreign_config(c, Architecture::gpt2, DType::f32, "", 5));
  EXPECT_EQ(alone.at("eos_token_id"), 5);
  EXPECT_EQ(alone.at("torch_dtype"), "float32");
  EXPECT_EQ(alone.at("architectures"), Json::parse(R"(["GPT2LMHeadModel"])"));
  const Json unknown = parse_json(write_foreign_config(c, Architecture::gpt2, DType::f32));
  EXPECT_TRUE(unknown.at("eos_token_id").is_null());
}

TEST(ForeignConfig, SaysWhatItIgnoresAndWhatItCannotSay) {
  const std::string text = R"({"model_type": "mistral", "vocab_size": 100, "hidden_size": 64,
      "num_hidden_layers": 2, "num_attention_heads": 8, "intermediate_size": 128,
      "max_position_embeddings": 32768, "sliding_window": 4096, "mine": {"a": 1}})";
  const ForeignConfig foreign =
      read_foreign_config(text, "config.json", {"mine", "sliding_window"});
  EXPECT_THAT(foreign.remarks,
              testing::UnorderedElementsAre(
                  std::string("'mine' ({\"a\":1}) of config.json is ignored, as asked"),
                  std::string("'sliding_window' (4096) of config.json is ignored, as asked")));
  EXPECT_EQ(foreign.config.query_groups, 8);
  const ForeignConfig cut = read_foreign_config(R"({"model_type": "gpt_neox", "vocab_size": 100,
      "hidden_size": 80, "num_hidden_layers": 2, "num_attention_heads": 1,
      "intermediate_size": 128, "max_position_embeddings": 16, "rotary_pct": 0.33})",
                                                "config.json");
  EXPECT_EQ(cut.config.rotary_percent, 0.325);
  EXPECT_THAT(cut.remarks, testing::ElementsAre(HasSubstr("26 of a head's 80 channels")));
  GptConfig c = preset("llama-tiny");
  EXPECT_THAT(left_out_of_config(c, Architecture::llama), testing::IsEmpty());
  c.hidden_dropout = 0.1;
  EXPECT_THAT(left_out_of_config(c, Architecture::llama),
              testing::ElementsAre(HasSubstr("--hidden-dropout 0.1")));
}

}  // namespace
}  // namespace switchyard
