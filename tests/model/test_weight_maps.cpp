#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "model/exchange/weight_map.h"
#include "model/parameters.h"
#include "tests/model/foreign_models.h"

namespace switchyard {
namespace {

using test::all_architectures;
using test::random_model;
using testing::HasSubstr;
using testing::ThrowsMessage;

using Counts = std::map<std::string, std::vector<uint8_t>>;  // of each element of their tensors

// Counts the elements of theirs that a map reads.
void count(const WeightMap& map, Counts& counts) {
  std::vector<uint8_t>& taken = counts[map.theirs];
  taken.resize(static_cast<size_t>(map.their_shape.elements()));
  const int64_t rows = map.shape[0], columns = map.shape.rank() == 2 ? map.shape[1] : 1;
  const int64_t their_rows = map.their_shape[map.transposed ? 1 : 0];
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t theirs = map.their_row(row);
    ASSERT_LT(theirs, their_rows) << map.theirs;
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t at = map.transposed ? column * their_rows + theirs : theirs * columns + column;
      ASSERT_LT(at, map.their_shape.elements()) << map.theirs;
      ++taken[static_cast<size_t>(at)];
    }
  }
}

TEST(WeightMaps, AreABijectionOfTheModelsTensors) {
  std::mt19937 random(1);
  for (const Architecture architecture : all_architectures) {
    for (int i = 0; i < 25; ++i) {
      const GptConfig c = random_model(architecture, random);
      SCOPED_TRACE(std::string(name_of(architecture)) + c.to_json());
      std::map<std::string, Shape> ours;
      for (const Parameter& p : make_parameters(c, {}, 0, {0, c.layers, true, true})) {
        if (p.stored) ours[p.name] = p.global;
      }
      Counts counts;
      for (const WeightMap& map : weight_maps(architecture, c)) {
        ASSERT_TRUE(ours.contains(map.ours)) << map.ours;
        EXPECT_EQ(ours.at(map.ours), map.shape) << map.ours;
        EXPECT_EQ(ours.erase(map.ours), 1U);
        count(map, counts);
      }
      EXPECT_TRUE(ours.empty()) << ours.begin()->first << " has no map";
      for (const auto& [theirs, taken] : counts) {
        EXPECT_TRUE(std::all_of(taken.begin(), taken.end(), [](int n) { return n == 1; }))
            << theirs;
      }
    }
  }
}

TEST(WeightMaps, SayWhereQueriesKeysAndValuesLie) {
  std::mt19937 random(2);
  const auto find = [](const std::vector<WeightMap>& maps, std::string_view ours) {
    for (const WeightMap& map : maps) {
      if (map.ours == ours) return map;
    }
    return WeightMap{};
  };
  GptConfig c = random_model(Architecture::gpt2, random);
  const WeightMap k = find(weight_maps(Architecture::gpt2, c), "layers.0.attention.k.weight");
  EXPECT_EQ(k.theirs, "transformer.h.0.attn.c_attn.weight");
  EXPECT_TRUE(k.transposed);
  EXPECT_EQ(k.their_row(1), c.hidden + 1);

  c = random_model(Architecture::gpt_neox, random);
  const WeightMap v = find(weight_maps(Architecture::gpt_neox, c), "layers.0.attention.v.weight");
  EXPECT_EQ(v.theirs, "gpt_neox.layers.0.attention.query_key_value.weight");
  EXPECT_EQ(v.their_row(0), 2 * c.head_dim);
  EXPECT_EQ(v.their_row(c.head_dim), 5 * c.head_dim);  // the second head

  c = random_model(Architecture::llama, random);
  const WeightMap up = find(weight_maps(Architecture::llama, c), "layers.0.mlp.up.weight");
  EXPECT_EQ(up.theirs, "model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(up.their_row(5), 5);
}

TEST(WeightMaps, TellBuffersFromWeights) {
  using A = Architecture;
  const std::tuple<A, const char*, bool> cases[] = {
      {A::gpt2, "transformer.h.11.attn.bias", true},
      {A::gpt2, "h.0.attn.masked_bias", true},
      {A::gpt2, "h.0.attn.c_attn.bias", false},
      {A::gpt2, "h.0.0.attn.bias", false},
      {A::gpt2, "h..attn.bias", false},
      {A::gpt_neox, "gpt_neox.layers.3.attention.bias", true},
      {A::gpt_neox, "gpt_neox.layers.3.attention.rotary_emb.inv_freq", true},
      {A::gpt_neox, "gpt_neox.layers.3.attention.dense.bias", false},
      {A::llama, "model.layers.31.self_attn.rotary_emb.inv_freq", true},
      {A::llama, "model.layers.31.self_attn.q_proj.bias", false},
      {A::llama, "h.0.attn.bias", false},
  };
  for (const auto& [architecture, name, is_buffer] : cases) {
    EXPECT_EQ(is_computed_buffer(architecture, name), is_buffer) << name;
  }
}

TEST(Architectures, AreFoundByWhatTheyCompute) {
  EXPECT_EQ(architecture_of(preset("gpt2-124m")), Architecture::gpt2);
  EXPECT_EQ(architecture_of(preset("pythia-1b")), Architecture::gpt_neox);
  EXPECT_EQ(architecture_of(preset("llama-7b")), Architecture::llama);
  EXPECT_EQ(architecture_of(preset("llama-7b"), Architecture::mistral), Architecture::mistral);
  GptConfig qwen = preset("llama-1b");
  qwen.qkv_bias = true;
  EXPECT_EQ(architecture_of(qwen), Architecture::qwen2);
  GptConfig uneven = preset("llama-tiny");  // heads that do not divide the hidden size
  uneven.hidden = 48;
  uneven.heads = uneven.query_groups = 5;
  uneven.head_dim = 10;
  EXPECT_EQ(architecture_of(uneven), Architecture::mistral);
  for (const Architecture architecture : all_architectures) {
    EXPECT_EQ(architecture_named(name_of(architecture)), architecture);
  }
}

GptConfig changed(const char* name, void (*change)(GptConfig&)) {
  GptConfig c = preset(name);
  change(c);
  return c;
}

TEST(Architectures, TheOptionInTheWayIsNamed) {
  using A = std::optional<Architecture>;
  const std::tuple<GptConfig, A, const char*, const char*> cases[] = {
      {changed("llama-tiny", [](GptConfig& c) { c.parallel_residual = true; }),
       {},
       "llama",
       "no --parallel-residual"},
      {changed("llama-tiny", [](GptConfig& c) { c.rotary_percent = 0.5; }),
       {},
       "llama",
       "no --rotary-percent 0.5"},
      {changed("gpt2-tiny", [](GptConfig& c) { c.norm = ops::Norm::rms; }),
       {},
       "gpt2",
       "no --normalization RMSNorm"},
      {changed("gpt2-tiny", [](GptConfig& c) { c.linear_bias = false; }),
       {},
       "gpt2",
       "no --disable-bias-linear"},
      {changed("gpt2-tiny", [](GptConfig& c) { c.query_groups = 1; }),
       {},
       "gpt2",
       "no --num-query-groups 1"},
      {changed("pythia-tiny", [](GptConfig& c) { c.activation = ops::Activation::swiglu; }),
       {},
       "gpt_neox",
       "no --activation swiglu"},
      {preset("llama-tiny"), Architecture::gpt2, "gpt2 has", "--position-embedding-type rope"},
      {preset("llama-tiny"), Architecture::qwen2, "qwen2 has", "--disable-bias-linear"},
      {preset("pythia-tiny"), Architecture::llama, "llama has", "--normalization LayerNorm"},
      {changed("llama-tiny", [](GptConfig& c) { c.heads = c.query_groups = 7, c.head_dim = 16; }),
       Architecture::llama, "llama has", "--num-attention-heads 7"},
  };
  for (const auto& [config, wanted, nearest, option] : cases) {
    EXPECT_THAT(([&c = config, &w = wanted] { architecture_of(c, w); }),
                ThrowsMessage<Error>(testing::AllOf(HasSubstr(nearest), HasSubstr(option))));
  }
}

}  // namespace
}  // namespace switchyard
