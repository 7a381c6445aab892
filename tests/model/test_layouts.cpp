#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>

#include "core/error.h"
#include "tests/model/host_elements.h"
#include "tests/model/model_run.h"

namespace switchyard::test {
namespace {

struct Case {
  const char* name;
  GptConfig config;
  Layout layout;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class Layouts : public testing::TestWithParam<std::tuple<Case, Device>> {
 protected:
  static Layout layout() { return std::get<0>(GetParam()).layout; }
  // On one rank.
  static ModelRun run() {
    ModelRun r;
    r.config = std::get<0>(GetParam()).config;
    r.device = std::get<1>(GetParam());
    return r;
  }
};

// One key/value head for all query heads, with biases.
GptConfig tiny_multi_query() {
  GptConfig c = tiny_gpt2(0.1);
  c.query_groups = 1;
  return c;
}

double length_of(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

double distance(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b.at(i);
  return length_of(a);
}

TEST_P(Layouts, HaveTheWeightsLossAndGradientsOfOneRank) {
  ModelRun r = run();
  r.microbatches = 5;
  const ModelResult one = run_model(r);
  r.layout = layout();
  const ModelResult many = run_model(r, 2);
  EXPECT_EQ(many.weights, one.weights);
  EXPECT_NEAR(many.loss_sum, one.loss_sum, 1e-5 * one.loss_sum);
  if (r.layout.dp > 1) return;
  ASSERT_EQ(many.gradients.size(), one.gradients.size());
  double whole = 0;
  for (const auto& [name, gradient] : one.gradients) whole = std::max(whole, length_of(gradient));
  for (const auto& [name, gradient] : one.gradients) {
    EXPECT_LE(distance(many.gradients.at(name), gradient),
              1e-5 * length_of(gradient) + 1e-7 * whole)
        << name;
  }
}

TEST_P(Layouts, EvaluateAlike) {
  ModelRun r = run();
  r.training = false;
  r.microbatches = 3;
  const ModelResult one = run_model(r);
  r.layout = layout();
  EXPECT_NEAR(run_model(r).loss_sum, one.loss_sum, 1e-5 * one.loss_sum);
}

TEST_P(Layouts, AllocateNothingAfterTheFirstStep) {
  ModelRun r = run();
  r.layout = layout();
  r.microbatches = 3;
  const std::vector<int64_t> counts = run_model(r, 3).allocations;
  for (size_t i = 1; i < counts.size(); ++i) EXPECT_EQ(counts[i], counts[0]) << i;
}

const Case cases[] = {
    {"gpt2_tp2", tiny_gpt2(0.1), {.tp = 2}},
    {"gpt2_pp2", tiny_gpt2(0.1), {.pp = 2}},
    {"gpt2_pp3", tiny_gpt2(0.1), {.pp = 3}},
    {"gpt2_dp2", tiny_gpt2(0.1), {.dp = 2}},
    {"gpt2_tp4", tiny_gpt2(0.1), {.tp = 4}},
    {"gpt2_tp2_pp2", tiny_gpt2(0.1), {.tp = 2, .pp = 2}},
    {"gpt2_tp2_pp2_dp2", tiny_gpt2(0.1), {.tp = 2, .dp = 2, .pp = 2}},
    {"llama_tp2", tiny_llama(0.1), {.tp = 2}},
    {"llama_tp2_pp2", tiny_llama(0.1), {.tp = 2, .pp = 2}},
    {"llama_tp4", tiny_llama(0.1), {.tp = 4}},
    {"llama_tp4_pp2_dp2", tiny_llama(0.1), {.tp = 4, .dp = 2, .pp = 2}},
    {"qwen2_tp2", tiny_qwen2(0.1), {.tp = 2}},
    {"qwen2_tp4", tiny_qwen2(0.1), {.tp = 4}},
    {"qwen2_tp4_pp2_dp2", tiny_qwen2(0.1), {.tp = 4, .dp = 2, .pp = 2}},
    {"llama3_tp2_pp2", tiny_llama3(0.1), {.tp = 2, .pp = 2}},
    {"biased_mlp_tp2", tiny_biased_mlp(0.1), {.tp = 2}},
    {"multi_query_tp2", tiny_multi_query(), {.tp = 2}},
    {"multi_query_tp4_pp2", tiny_multi_query(), {.tp = 4, .pp = 2}},
    {"neox_tp2", tiny_neox(0.1), {.tp = 2}},
    {"neox_tp2_pp3", tiny_neox(0.1), {.tp = 2, .pp = 3}},
};
INSTANTIATE_TEST_SUITE_P(Cases, Layouts,
                         testing::Combine(testing::ValuesIn(cases), testing::ValuesIn(devices())),
                         [](const auto& instance) {
                           return fmt::format("{}_{}", std::get<0>(instance.param).name,
                                              name_of(std::get<1>(instance.param)));
                         });

class LayoutOnDevice : public testing::TestWithParam<Device> {
 protected:
  static ModelRun run(const GptConfig& config) {
    ModelRun r;
    r.config = config;
    r.device = GetParam();
    return r;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, LayoutOnDevice, testing::ValuesIn(devices()),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(LayoutOnDevice, HasTheSameBitsEveryTime) {
  ModelRun r = run(tiny_llama(0.1));
  r.layout = {.tp = 2, .pp = 2};
  const ModelResult first = run_model(r), second = run_model(r, 3);
  EXPECT_EQ(first.gradients, second.gradients);
  EXPECT_EQ(first.losses[0], second.losses[2]);
}

TEST_P(LayoutOnDevice, EvaluationBetweenStepsChangesNothing) {
  ModelRun r = run(tiny_gpt2(0.1));
  for (const int pp : {1, 2}) {
    r.layout.pp = pp;
    r.evaluate_between = false;
    const ModelResult plain = run_model(r, 2);
    r.evaluate_between = true;
    const ModelResult mixed = run_model(r, 2);
    EXPECT_EQ(mixed.gradients, plain.gradients);
    ModelRun evaluation = r;
    evaluation.training = evaluation.evaluate_between = false;
    EXPECT_DOUBLE_EQ(mixed.evaluated[1], run_model(evaluation).loss_sum);
  }
}

TEST_P(LayoutOnDevice, UnevenStagesMayBeGiven) {
  ModelRun r = run(tiny_gpt2(0));
  const double expected = run_model(r).loss_sum;
  r.layout.pp = 2;
  r.layers_of_stages = {1, 2};
  EXPECT_NEAR(run_model(r).loss_sum, expected, 1e-5 * expected);
}

// A vocabulary that leaves the last ranks nothing but padding.
TEST_P(LayoutOnDevice, ARankMayHoldPaddingAlone) {
  ModelRun r = run(tiny_gpt2(0));
  r.config.vocabulary = 60;
  const ModelResult one = run_model(r);
  r.layout.tp = 4;
  const ModelResult many = run_model(r);
  EXPECT_EQ(many.weights, one.weights);
  EXPECT_NEAR(many.loss_sum, one.loss_sum, 1e-5 * one.loss_sum);
}

TEST(Layout, ErrorsNameBothNumbers) {
  struct Refused {
    Layout layout;
    std::vector<int> stages;
    int64_t length;
    const char* given;
    const char* allowed;
  };
  const Refused cases_refused[] = {
      {{.tp = 3}, {}, 8, "--num-attention-heads 4", "--tp 3"},
      {{.pp = 4}, {}, 8, "--pp 4", "--num-layers 3"},
      {{.pp = 2}, {1, 1}, 8, "--pipeline-layers 1,1, together 2", "3 layers"},
      {{.pp = 2}, {3}, 8, "1 stages", "--pp is 2"},
      {{.pp = 2}, {0, 3}, 8, "--pipeline-layers 0,3", "1 or more"},
      {{.tp = 2}, {}, 0, "--seq-length 0", "1 or more"},
  };
  for (const Refused& c : cases_refused) {
    GptStage::Options options;
    options.sequence_length = c.length;
    options.layers_of_stages = c.stages;
    EXPECT_THAT([&] { GptStage::check_layout(tiny_llama(0), c.layout, options); },
                testing::ThrowsMessage<Error>(
                    testing::AllOf(testing::HasSubstr(c.given), testing::HasSubstr(c.allowed))));
  }
}

// tp divides the query groups, or is a multiple of them that divides the query heads.
TEST(Layout, TpAndQueryGroupsFit) {
  GptConfig c = tiny_llama(0);
  c.heads = 12;
  c.head_dim = 4;
  c.query_groups = 4;
  const GptStage::Options options{.micro_batch = 6, .sequence_length = 8};
  for (const int tp : {1, 2, 4}) EXPECT_NO_THROW(GptStage::check_layout(c, {.tp = tp}, options));
  for (const int tp : {3, 6}) {
    EXPECT_THAT([&] { GptStage::check_layout(c, {.tp = tp}, options); },
                testing::ThrowsMessage<Error>(testing::AllOf(
                    testing::HasSubstr(fmt::format("--num-query-groups 4 with --tp {}", tp)),
                    testing::HasSubstr("--num-query-groups"))))
        << tp;
  }
}

TEST(Layout, MoreTokensThanLearnedPositionsAreRefused) {
  GptStage::Options options;
  options.sequence_length = 12;
  EXPECT_THAT([&] { GptStage::check_layout(tiny_gpt2(0), {}, options); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("11 learned positions")));
}

TEST(Layout, ATokenBeyondTheVocabularyIsNamed) {
  ModelRun run;
  run.config = tiny_gpt2(0);
  Stream stream;
  Scratch scratch;
  const auto world = make_self_communicator();
  const Mesh mesh = make_mesh({}, *world);
  GptStage stage(run.config, mesh, {.micro_batch = 2, .sequence_length = 8}, {stream, scratch});
  ReferenceBatch batch = reference_batch(run, 0, 2);
  batch.tokens[3] = 150;
  const TokenBatch tokens{Tensor(batch.tokens.data(), DType::i32, {2, 8}),
                          Tensor(batch.targets.data(), DType::i32, {2, 8})};
  EXPECT_THAT(
      [&] {
        stage.begin({&tokens, 1}, {.step = 1});
      },
      testing::ThrowsMessage<Error>(testing::HasSubstr("contain 150; the vocabulary has")));
}

TEST(Layout, StagesAreBalancedByCost) {
  GptConfig c = preset("gpt2-124m");
  const auto layers = GptStage::stage_layers(c, {.pp = 4}, {.sequence_length = 512});
  EXPECT_EQ(layers.size(), 4u);
  EXPECT_LT(layers.back(), layers.front()) << "the head costs as much as several layers";
}

}  // namespace
}  // namespace switchyard::test
