#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"
#include "tests/model/host_elements.h"
#include "tests/model/model_run.h"

namespace switchyard::test {
namespace {

struct Style {
  const char* name;
  GptConfig (*config)(double dropout);
};
const Style styles[] = {
    {"gpt2", tiny_gpt2},     {"llama", tiny_llama},           {"qwen2", tiny_qwen2},
    {"llama3", tiny_llama3}, {"biased_mlp", tiny_biased_mlp}, {"neox", tiny_neox}};

class ModelGradients : public testing::TestWithParam<std::tuple<Style, double, Device>> {
 protected:
  ModelRun run() const {
    const auto& [style, dropout, device] = GetParam();
    ModelRun r;
    r.config = style.config(dropout);
    r.device = device;
    return r;
  }
};

double reference_loss(const ModelRun& run, const Weights& weights) {
  double sum = 0;
  for (int i = 0; i < run.microbatches; ++i) {
    const ReferenceBatch batch = reference_batch(run, i * run.samples, run.samples);
    sum += ReferenceModel(run.config, weights, batch).loss_sum();
  }
  return sum;
}

// The derivative of the reference's loss along a direction of one tensor.
double derivative(const ModelRun& run, Weights weights, const std::string& name,
                  const std::vector<double>& direction) {
  const double epsilon = 1e-5;
  std::vector<double>& w = weights.at(name);
  const auto shift = [&](double by) {
    for (size_t i = 0; i < w.size(); ++i) w[i] += by * direction[i];
  };
  shift(epsilon);
  const double above = reference_loss(run, weights);
  shift(-2 * epsilon);
  return (above - reference_loss(run, weights)) / (2 * epsilon);
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Along its own direction a gradient's derivative is its length; a random direction and single
// elements find what is missing from it.
void expect_gradient(const ModelRun& run, const Weights& weights, const std::string& name,
                     const std::vector<double>& gradient) {
  const double length = std::sqrt(dot(gradient, gradient));
  ASSERT_GT(gradient.size(), 0u);
  std::vector<double> direction = gradient;
  for (double& x : direction) x /= std::max(length, 1e-30);
  if (length > 1e-4) {
    EXPECT_NEAR(derivative(run, weights, name, direction), length, 2e-5 * length) << name;
  }
  const RandomKey key{1, 0, random_purpose(name)};
  for (size_t i = 0; i < direction.size(); ++i) {
    direction[i] = double{random_normal(key, i)} / std::sqrt(double(direction.size()));
  }
  const double expected = dot(gradient, direction);
  EXPECT_NEAR(derivative(run, weights, name, direction), expected, 1e-4 * length + 1e-5) << name;
}

TEST_P(ModelGradients, AgreeWithFiniteDifferencesOfTheReference) {
  const ModelRun r = run();
  const ModelResult result = run_model(r);
  const double loss = reference_loss(r, result.weights);
  EXPECT_NEAR(result.loss_sum, loss, 2e-6 * loss);
  EXPECT_EQ(result.gradients.size(), result.weights.size());
  for (const auto& [name, gradient] : result.gradients) {
    expect_gradient(r, result.weights, name, gradient);
  }
}

TEST_P(ModelGradients, AreNotNeededToEvaluate) {
  ModelRun r = run();
  r.training = false;
  const ModelResult result = run_model(r);
  EXPECT_NEAR(result.loss_sum, reference_loss(r, result.weights), 2e-6 * result.loss_sum);
}

std::string name_of_case(const testing::TestParamInfo<ModelGradients::ParamType>& instance) {
  const auto& [style, dropout, device] = instance.param;
  return fmt::format("{}{}_{}", style.name, dropout > 0 ? "_dropout" : "", name_of(device));
}
INSTANTIATE_TEST_SUITE_P(Styles, ModelGradients,
                         testing::Combine(testing::ValuesIn(styles), testing::Values(0.0, 0.2),
                                          testing::ValuesIn(devices())),
                         name_of_case);

class GradientsOnDevice : public testing::TestWithParam<Device> {
 protected:
  ModelRun run(const GptConfig& config) const {
    ModelRun r;
    r.config = config;
    r.device = GetParam();
    return r;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, GradientsOnDevice, testing::ValuesIn(devices()),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(GradientsOnDevice, AreThoseOfTheWholeHeadInWhateverChunksItRuns) {
  for (const int tp : {1, 2}) {
    ModelRun r = run(tiny_gpt2(0.1));
    r.layout.tp = tp;
    const ModelResult whole = run_model(r);
    r.head_chunk = 5;  // of 16 rows
    const ModelResult chunks = run_model(r);
    EXPECT_NEAR(chunks.loss_sum, whole.loss_sum, 1e-6 * whole.loss_sum);
    for (const auto& [name, g] : whole.gradients) {
      std::vector<double> difference = chunks.gradients.at(name);
      for (size_t i = 0; i < g.size(); ++i) difference[i] -= g[i];
      EXPECT_LE(std::sqrt(dot(difference, difference)), 1e-5 * std::sqrt(dot(g, g)) + 1e-7) << name;
    }
    r.training = false;
    EXPECT_NEAR(run_model(r).loss_sum, reference_loss(r, whole.weights), 2e-6 * whole.loss_sum);
  }
}

TEST_P(GradientsOnDevice, AreMultipliedByTheStepsScale) {
  ModelRun r = run(tiny_neox(0.1));
  const ModelResult plain = run_model(r);
  r.multiplier = 0.25f;
  r.loss_scale = 32;
  const ModelResult scaled = run_model(r);
  EXPECT_EQ(scaled.loss_sum, plain.loss_sum);
  for (const auto& [name, g] : plain.gradients) {
    for (size_t i = 0; i < g.size(); ++i) ASSERT_EQ(scaled.gradients.at(name)[i], 8 * g[i]) << name;
  }
}

TEST_P(GradientsOnDevice, InBf16AreNearThoseOfF32) {
  ModelRun r = run(tiny_llama(0.1));
  const ModelResult exact = run_model(r);
  r.dtype = DType::bf16;
  const ModelResult rounded = run_model(r);
  EXPECT_NEAR(rounded.loss_sum, exact.loss_sum, 0.01 * exact.loss_sum);
  for (const auto& [name, g] : exact.gradients) {
    const std::vector<double>& b = rounded.gradients.at(name);
    const double cosine = dot(g, b) / std::sqrt(dot(g, g) * dot(b, b));
    EXPECT_GT(cosine, 0.99) << name;
  }
}

}  // namespace
}  // namespace switchyard::test
