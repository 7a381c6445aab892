#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"
#include "tests/model/model_run.h"

namespace switchyard::test {
namespace {

struct Style {
  const char* name;
  GptConfig (*config)(double dropout);
};
const Style styles[] = {{"gpt2", tiny_gpt2}, {"llama", tiny_llama}, {"neox", tiny_neox}};

class ModelGradients : public testing::TestWithParam<std::tuple<Style, double>> {
 protected:
  ModelRun run() const {
    ModelRun r;
    r.config = std::get<0>(GetParam()).config(std::get<1>(GetParam()));
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

INSTANTIATE_TEST_SUITE_P(Styles, ModelGradients,
                         testing::Combine(testing::ValuesIn(styles), testing::Values(0.0, 0.2)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) +
                                  (std::get<1>(instance.param) > 0 ? "_dropout" : "");
                         });

TEST(ModelGradientsBf16, AreNearThoseOfF32) {
  ModelRun r;
  r.config = tiny_llama(0.1);
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
