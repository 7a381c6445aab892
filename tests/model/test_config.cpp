#include <gmock/gmock.h>

#include "core/error.h"
#include "model/config.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(Presets, HaveThePublishedParameterCounts) {
  const std::pair<const char*, int64_t> published[] = {
      {"gpt2-124m", 124439808},    {"gpt2-355m", 354823168},    {"gpt2-774m", 774030080},
      {"gpt2-1558m", 1557611200},  {"llama-1b", 1100048384},    {"llama-1.2b", 1158760448},
      {"llama-7b", 6738415616},    {"pythia-160m", 162322944},  {"pythia-1b", 1011781632},
      {"pythia-6.9b", 6857302016}, {"pythia-12b", 11846072320}, {"llama3.1-8b", 8030261248},
      {"llama3.2-1b", 1235814400}, {"qwen2-0.5b", 494032768},   {"qwen2-7b", 7615616512},
      {"mistral-7b", 7248023552},
  };
  for (const auto& [name, parameters] : published) {
    EXPECT_EQ(preset(name).parameters(), parameters) << name;
  }
}

TEST(Presets, AllAreValidAndSurviveJson) {
  for (const std::string& name : preset_names()) {
    const GptConfig config = preset(name);
    EXPECT_NO_THROW(config.validate()) << name;
    EXPECT_EQ(GptConfig::from_json(config.to_json()), config) << name;
    EXPECT_GT(preset_sequence_length(name), 0);
  }
}

TEST(Presets, OfLlama3Qwen2AndMistralHaveTheirOptions) {
  const GptConfig llama = preset("llama3.2-1b"), qwen2 = preset("qwen2-7b"),
                  mistral = preset("mistral-7b");
  EXPECT_TRUE(llama.rope_scaling && llama.tied_output && !preset("llama3.1-8b").tied_output);
  EXPECT_EQ(llama.rope_factor, 32);
  EXPECT_EQ(preset("llama3.1-8b").rope_factor, 8);
  EXPECT_EQ(llama.rotary_base, 500000);
  EXPECT_EQ(llama.max_positions, 131072);
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.attention_output_bias && !qwen2.linear_bias);
  EXPECT_EQ(qwen2.norm_epsilon, 1e-6);
  EXPECT_EQ(mistral.rotary_base, 1e6);
  EXPECT_EQ(mistral.max_positions, 32768);
}

TEST(Presets, AnUnknownNameListsAll) {
  EXPECT_THAT([] { preset("gpt5"); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("'gpt5'"), HasSubstr("pythia-12b"))));
}

TEST(Config, CountsProductsAndFlops) {
  const GptConfig c = preset("gpt2-124m");
  const int64_t products = 12 * 12 * 768 * 768 + 50257 * 768;
  EXPECT_EQ(c.product_weights(), products);
  EXPECT_DOUBLE_EQ(c.causal_flops_per_token(512), 6.0 * products + 6.0 * 12 * 768 * 512);
  EXPECT_EQ(c.padded_vocabulary(), 50304);
  EXPECT_EQ(preset("pythia-160m").rotary_dim(), 16);
}

GptConfig changed(void (*change)(GptConfig&)) {
  GptConfig c = preset("llama-tiny");
  change(c);
  return c;
}

TEST(Config, ErrorsNameTheOptionAndWhatIsAllowed) {
  const std::tuple<GptConfig, const char*, const char*> cases[] = {
      {changed([](GptConfig& c) { c.heads = 5, c.head_dim = 0; }), "--num-attention-heads 5",
       "--hidden-size 128"},
      {changed([](GptConfig& c) { c.query_groups = 3; }), "--num-query-groups 3",
       "--num-attention-heads 4"},
      {changed([](GptConfig& c) { c.rotary_percent = 1.5; }), "--rotary-percent 1.5", "up to 1"},
      {changed([](GptConfig& c) { c.rotary_percent = 0.03; }), "--rotary-percent 0.03",
       "at least 2"},
      {changed([](GptConfig& c) { c.rope_scaling = true, c.rope_factor = 0.5; }),
       "--rope-scaling-factor 0.5", "1 or more"},
      {changed([](GptConfig& c) { c.rope_scaling = true, c.rope_low_frequency = 4; }),
       "--rope-scaling-low-freq-factor 4 with --rope-scaling-high-freq-factor 4", "0 < low < high"},
      {changed([](GptConfig& c) { c.rope_scaling = true, c.rope_original_positions = 0; }),
       "--rope-scaling-original-max-position-embeddings 0", "1 to"},
      {changed([](GptConfig& c) { c.rope_scaling = true, c.positions = Positions::learned; }),
       "--use-rope-scaling", "--position-embedding-type rope"},
      {changed([](GptConfig& c) { c.max_positions = -1; }), "--max-position-embeddings -1", "0"},
      {changed([](GptConfig& c) { c.layers = 0; }), "--num-layers 0", "1 to 1048576"},
      {changed([](GptConfig& c) { c.ffn_hidden = int64_t{1} << 40; }),
       "--ffn-hidden-size 1099511627776", "to 1048576"},
      {changed([](GptConfig& c) { c.hidden = 16, c.heads = 4, c.head_dim = c.ffn_hidden = 0; }),
       "--ffn-hidden-size 0 (8/3 of --hidden-size 16, down to a multiple of 64)", "1 to"},
      {changed([](GptConfig& c) { c.hidden_dropout = 1; }), "--hidden-dropout 1", "0 <= p < 1"},
      {changed([](GptConfig& c) { c.positions = Positions::learned; }),
       "--max-position-embeddings 0", "1"},
  };
  for (const auto& [config, given, allowed] : cases) {
    EXPECT_THAT([&c = config] { c.validate(); },
                ThrowsMessage<Error>(testing::AllOf(HasSubstr(given), HasSubstr(allowed))));
  }
}

TEST(Config, SaysHowADefaultOfTheMlpCameAbout) {
  GptConfig c = preset("gpt2-tiny");
  EXPECT_EQ(c.origin_of_ffn_hidden(), "4 x --hidden-size 128");
  c.activation = ops::Activation::swiglu;
  EXPECT_EQ(c.origin_of_ffn_hidden(), "");
  c.ffn_hidden = 0;
  EXPECT_EQ(c.completed().origin_of_ffn_hidden(),
            "8/3 of --hidden-size 128, down to a multiple of 64");
}

TEST(Config, JsonRefusesWhatItDoesNotKnow) {
  EXPECT_THAT([] { GptConfig::from_json(R"({"layrs": 2})"); },
              ThrowsMessage<Error>(HasSubstr("'layrs'")));
  EXPECT_THAT([] { GptConfig::from_json(R"({"layers": "two"})"); },
              ThrowsMessage<Error>(HasSubstr("whole number")));
  EXPECT_THAT([] { GptConfig::from_json(R"({"norm": "batch"})"); },
              ThrowsMessage<Error>(HasSubstr("layer, rms")));
  EXPECT_THAT([] { GptConfig::from_json("no json"); }, ThrowsMessage<Error>(HasSubstr("no json")));
}

}  // namespace
}  // namespace switchyard
