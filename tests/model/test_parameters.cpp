#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>

#include "core/error.h"
#include "core/random.h"
#include "model/parameters.h"
#include "optim/flat_buffers.h"
#include "tests/model/host_elements.h"
#include "tests/model/model_run.h"

namespace switchyard::test {
namespace {

const Parameter& named(const std::vector<Parameter>& all, const std::string& name) {
  for (const Parameter& p : all) {
    if (p.name == name) return p;
  }
  throw Error("no parameter " + name);
}

std::vector<Parameter> whole_model(const GptConfig& config) {
  return make_parameters(config, {}, 0, {.first_layer = 0, .last_layer = config.layers});
}

TEST(Parameters, CoverTheModelOnce) {
  for (const GptConfig& config :
       {tiny_gpt2(0), tiny_llama(0), tiny_neox(0), preset("llama-1b"), tiny_qwen2(0),
        tiny_llama3(0), tiny_biased_mlp(0), preset("qwen2-0.5b")}) {
    int64_t elements = 0;
    for (const Parameter& p : whole_model(config)) elements += p.global.elements();
    EXPECT_EQ(elements, config.parameters());
  }
}

std::vector<std::string> biases_of_a_layer(const GptConfig& config) {
  std::vector<std::string> names;
  for (const Parameter& p : whole_model(config)) {
    if (p.layer == 1 && p.name.ends_with(".bias")) names.push_back(p.name.substr(9));
  }
  return names;
}

TEST(Parameters, HaveTheBiasesThatWereAskedFor) {
  using testing::ElementsAre;
  EXPECT_THAT(biases_of_a_layer(tiny_llama(0)), ElementsAre());
  EXPECT_THAT(biases_of_a_layer(tiny_qwen2(0)),
              ElementsAre("attention.q.bias", "attention.k.bias", "attention.v.bias"));
  EXPECT_THAT(biases_of_a_layer(tiny_llama3(0)),
              ElementsAre("attention.q.bias", "attention.k.bias", "attention.v.bias",
                          "attention.output.bias"));
  EXPECT_THAT(biases_of_a_layer(tiny_biased_mlp(0)),
              ElementsAre("mlp.gate.bias", "mlp.up.bias", "mlp.down.bias"));
}

void expect_tiled(const GptConfig& config, int ranks) {
  std::map<std::string, int64_t> covered;
  for (int pp = 0; pp < 3; ++pp) {
    for (int tp = 0; tp < ranks; ++tp) {
      const StagePart part{pp, pp + 1, pp == 0, pp == 2};
      for (const Parameter& p : make_parameters(config, {.tp = ranks, .pp = 3}, tp, part)) {
        if (p.stored && tp % p.replicas == 0) covered[p.name] += p.box.extent.elements();
      }
    }
  }
  for (const Parameter& p : whole_model(config)) {
    EXPECT_EQ(covered[p.name], p.global.elements()) << p.name;
  }
}

TEST(Parameters, OfAllRanksTileEachTensor) {
  expect_tiled(tiny_gpt2(0), 2);
  expect_tiled(tiny_llama(0), 2);
  expect_tiled(tiny_llama(0), 4);  // 2 query groups
  expect_tiled(tiny_qwen2(0), 4);
}

// Of 2 groups on 4 ranks each is held by the two ranks whose query heads read it.
TEST(Parameters, RanksOfAGroupsQueriesShareItsKeys) {
  for (int tp = 0; tp < 4; ++tp) {
    const auto all =
        make_parameters(tiny_qwen2(0), {.tp = 4}, tp, {.first_layer = 0, .last_layer = 3});
    const Parameter& k = named(all, "layers.1.attention.k.weight");
    EXPECT_EQ(k.replicas, 2);
    EXPECT_EQ(k.box, (Box{.offset = {tp / 2 * 8, 0}, .extent = {8, 32}}));
    const Parameter& bias = named(all, "layers.1.attention.k.bias");
    EXPECT_EQ(bias.replicas, 2);
    EXPECT_EQ(bias.box, (Box{.offset = {tp / 2 * 8}, .extent = {8}}));
    EXPECT_EQ(named(all, "layers.1.attention.q.weight").replicas, 1);
    EXPECT_EQ(named(all, "layers.1.attention.norm.weight").replicas, 4);
  }
}

TEST(Parameters, DecayLeavesNormsAndBiasesOut) {
  for (const Parameter& p : whole_model(tiny_gpt2(0))) {
    EXPECT_EQ(p.decay, p.global.rank() == 2) << p.name;
  }
}

TEST(Parameters, StartAsNormalNumbersOfTheirGlobalElements) {
  const GptConfig config = tiny_gpt2(0);
  std::vector<Parameter> all =
      make_parameters(config, {.tp = 2}, 1, {.first_layer = 0, .last_layer = 3});
  const FlatBuffers buffers(all, {.gradients = false});
  Stream stream;
  initialize_parameters(all, 11, stream);
  const Parameter& down = named(all, "layers.1.mlp.down.weight");  // columns 24 ... 47 of 48
  const RandomKey key{11, 0, random_purpose(down.name)};
  const float deviation = 0.15f / std::sqrt(6.0f);
  for (const auto& [row, column] : {std::pair{0, 0}, {0, 1}, {1, 23}, {31, 7}}) {
    const float normal = random_normal(key, static_cast<uint64_t>(row * 48 + 24 + column));
    EXPECT_NEAR(down.weight.span<float>()[static_cast<size_t>(row * 24 + column)],
                deviation * normal, 1e-7f);
  }
  EXPECT_EQ(named(all, "layers.0.mlp.norm.weight").weight.span<float>()[3], 1.0f);
  EXPECT_EQ(named(all, "layers.0.attention.k.bias").weight.span<float>()[3], 0.0f);
}

TEST(Parameters, PaddingOfTheVocabularyIsZero) {
  std::vector<Parameter> all = whole_model(tiny_gpt2(0));
  const FlatBuffers buffers(all, {.gradients = false});
  const auto words = named(all, "embedding.word.weight").weight.span<float>();
  std::fill(words.begin(), words.end(), 5.0f);
  Stream stream;
  initialize_parameters(all, 11, stream);
  ASSERT_EQ(words.size(), 256u * 32);
  EXPECT_NE(words[149 * 32 + 31], 0.0f);
  for (size_t i = 150 * 32; i < words.size(); ++i) ASSERT_EQ(words[i], 0.0f);
}

class InitialWeights : public testing::TestWithParam<std::tuple<Device, DType>> {};

// A stage's weights are the same bits wherever they lie; rows go there in several pieces.
TEST_P(InitialWeights, AreTheHostsOnEveryDevice) {
  const auto [device, dtype] = GetParam();
  const auto bits_of = [&](Device where, uint64_t seed) {
    std::vector<Parameter> all = whole_model(tiny_gpt2(0));
    const FlatBuffers buffers(all, {.dtype = dtype, .gradients = false, .device = where});
    Stream stream(where);
    initialize_parameters(all, seed, stream);
    const HostElements host(buffers.weights(), stream);
    const auto* bytes = static_cast<const std::byte*>(host.view().data);
    return std::vector<std::byte>(bytes, bytes + buffers.weights().bytes());
  };
  EXPECT_EQ(bits_of(device, 11), bits_of(Device::cpu, 11));
  EXPECT_NE(bits_of(device, 12), bits_of(Device::cpu, 11));
}

INSTANTIATE_TEST_SUITE_P(Devices, InitialWeights,
                         testing::Combine(testing::ValuesIn(devices()),
                                          testing::Values(DType::f32, DType::bf16, DType::f16)),
                         [](const auto& instance) {
                           return fmt::format("{}_{}", name_of(std::get<0>(instance.param)),
                                              name_of(std::get<1>(instance.param)));
                         });

TEST(Parameters, GroupsAreOneMatrix) {
  std::vector<Parameter> all = whole_model(tiny_llama(0));
  const ParameterGroup group(all, {"layers.2.attention.q.weight", "layers.2.attention.k.weight",
                                   "layers.2.attention.v.weight"});
  EXPECT_THAT([&] { group.weight(); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("has no memory")));
  const FlatBuffers buffers(all, {});
  EXPECT_EQ(group.weight().shape, Shape({64, 32}));
  EXPECT_EQ(group.gradient().data, named(all, "layers.2.attention.q.weight").gradient.data);
  EXPECT_FALSE(ParameterGroup());
  EXPECT_THAT([&] { ParameterGroup(all, {"layers.9.mlp.up.weight"}); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("layers.9.mlp.up.weight")));
}

}  // namespace
}  // namespace switchyard::test
