#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>

#include "core/error.h"
#include "model/generator.h"
#include "optim/flat_buffers.h"
#include "tests/model/host_elements.h"
#include "tests/model/model_run.h"

namespace switchyard::test {
namespace {

// A 1x1x1 model with weights in memory.
struct Model {
  explicit Model(const GptConfig& c, DType dtype = DType::f32, Device device = Device::cpu)
      : config(c),
        stream(device),
        scratch(device),
        world(make_self_communicator()),
        mesh(make_mesh({}, *world)),
        stage(
            c, mesh,
            {.dtype = dtype, .sequence_length = 8, .device = device, .training = false, .seed = 3},
            {stream, scratch}),
        buffers(stage.parameters(), {.dtype = dtype, .gradients = false, .device = device}) {
    stage.initialize(3);
  }
  Generator generator(int64_t context_length) {
    return {config, stage.parameters(), context_length, {stream, scratch}};
  }
  Weights weights() {
    Weights all;
    for (const Parameter& p : buffers.parameters()) {
      const HostElements host(p.weight, stream);
      const auto values = host.view().span<float>().first(static_cast<size_t>(p.global.elements()));
      all[p.name].assign(values.begin(), values.end());
    }
    return all;
  }

  GptConfig config;
  Stream stream;
  Scratch scratch;
  std::unique_ptr<Communicator> world;
  Mesh mesh;
  GptStage stage;
  FlatBuffers buffers;
};

class Generation : public testing::TestWithParam<std::tuple<GptConfig, Device>> {};

TEST_P(Generation, HasTheLogitsOfTheWholeModelInWhateverPiecesTheTokensCome) {
  Model model(std::get<0>(GetParam()), DType::f32, std::get<1>(GetParam()));
  ModelRun run;
  run.config = model.config;
  run.length = 11;
  run.training = false;
  const ReferenceBatch batch = reference_batch(run, 0, 1);
  const Weights weights = model.weights();
  const std::vector<double> expected = ReferenceModel(model.config, weights, batch).logits();
  Generator generator = model.generator(11);
  for (const int pass : {0, 1}) {
    generator.reset();
    for (const auto& part : {std::pair{0, 1}, {1, 5}, {5, 6}, {6, 11}}) {
      const auto logits =
          generator.feed(std::span(batch.tokens)
                             .subspan(static_cast<size_t>(part.first),
                                      static_cast<size_t>(part.second - part.first)));
      ASSERT_EQ(generator.length(), part.second);
      ASSERT_EQ(static_cast<int64_t>(logits.size()), model.config.vocabulary);
      for (size_t i = 0; i < logits.size(); ++i) {
        const size_t row = static_cast<size_t>(part.second - 1) * logits.size();
        ASSERT_NEAR(logits[i], expected[row + i], 2e-5) << part.second << " pass " << pass;
      }
    }
  }
}

std::string name_of_case(const testing::TestParamInfo<Generation::ParamType>& instance) {
  const auto& [config, device] = instance.param;
  const char* style = config.positions == Positions::learned ? "gpt2"
                      : config.parallel_residual             ? "neox"
                      : config.rope_scaling                  ? "llama3"
                      : config.qkv_bias                      ? "qwen2"
                                                             : "llama";
  return fmt::format("{}_{}", style, name_of(device));
}
INSTANTIATE_TEST_SUITE_P(Styles, Generation,
                         testing::Combine(testing::Values(tiny_gpt2(0.1), tiny_llama(0),
                                                          tiny_qwen2(0), tiny_llama3(0),
                                                          tiny_neox(0)),
                                          testing::ValuesIn(devices())),
                         name_of_case);

class GenerationPieces : public testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, GenerationPieces, testing::ValuesIn(devices()),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(GenerationPieces, ALongPromptIsTheSameAsTokenByToken) {
  Model model(tiny_llama(0), DType::f32, GetParam());
  Generator generator = model.generator(200);
  std::vector<int32_t> tokens;
  for (int i = 0; i < 200; ++i) tokens.push_back(i * 7 % 150);
  std::vector<float> one_by_one;
  for (const int32_t& token : tokens) {
    const auto logits = generator.feed({&token, 1});
    one_by_one.assign(logits.begin(), logits.end());
  }
  generator.reset();
  const auto at_once = generator.feed(tokens);
  for (size_t i = 0; i < at_once.size(); ++i) EXPECT_NEAR(at_once[i], one_by_one[i], 2e-5);
}

TEST_P(GenerationPieces, Bf16IsNearF32) {
  Model exact(tiny_gpt2(0), DType::f32, GetParam());
  Model rounded(tiny_gpt2(0), DType::bf16, GetParam());
  const std::vector<int32_t> tokens = {3, 1, 4, 1, 5};
  Generator a = exact.generator(8), b = rounded.generator(8);
  const auto x = a.feed(tokens), y = b.feed(tokens);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 0.05);
}

TEST_P(GenerationPieces, AFullContextAndStrangeTokensAreRefused) {
  Model model(tiny_gpt2(0), DType::f32, GetParam());
  Generator generator = model.generator(4);
  const std::vector<int32_t> five(5, 1), beyond = {150};
  EXPECT_THAT([&] { generator.feed(five); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("the context has 4")));
  EXPECT_THAT([&] { generator.feed(beyond); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("token 150")));
  EXPECT_THAT([&] { model.generator(12); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("11 learned positions")));
}

std::vector<int> counts(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<int> count(logits.size(), 0);
  for (int i = 0; i < 20000; ++i) ++count[static_cast<size_t>(sample_token(logits, options, i))];
  return count;
}

// Logits of the probabilities 0.1, 0.4, 0.2, 0.3.
const std::vector<float> four = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};

TEST(Sampling, FollowsTheProbabilities) {
  const auto count = counts(four, {});
  const double expected[] = {0.1, 0.4, 0.2, 0.3};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(count[i] / 20000.0, expected[i], 0.015) << i;
}

TEST(Sampling, TemperatureSharpens) {
  const auto count = counts(four, {.temperature = 0.5});
  EXPECT_NEAR(count[1] / 20000.0, 0.16 / 0.30, 0.015);
  EXPECT_EQ(sample_token(four, {.temperature = 0}, 0), 1);
}

TEST(Sampling, TopKAndTopPCutTheTail) {
  const auto k = counts(four, {.top_k = 2});
  EXPECT_EQ(k[0] + k[2], 0);
  EXPECT_NEAR(k[1] / 20000.0, 4.0 / 7, 0.015);
  const auto p = counts(four, {.top_p = 0.75});  // 0.4 + 0.3 fall short, 0.2 more reaches it
  EXPECT_EQ(p[0], 0);
  EXPECT_GT(p[2], 0);
  EXPECT_EQ(counts(four, {.top_p = 0.39})[1], 20000);
}

TEST(Sampling, DependsOnSeedAndPositionAlone) {
  const auto draw = [](uint64_t seed) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sample_token(four, {.seed = seed}, i));
    return tokens;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(Sampling, OptionsOutOfRangeAreRefused) {
  EXPECT_THROW(sample_token(four, {.temperature = -1}, 0), Error);
  EXPECT_THROW(sample_token(four, {.top_k = -1}, 0), Error);
  EXPECT_THROW(sample_token(four, {.top_p = 0}, 0), Error);
  const std::vector<float> none = {0, std::nanf(""), 1};
  EXPECT_THAT([&] { sample_token(none, {}, 0); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("token 1")));
}

}  // namespace
}  // namespace switchyard::test
