#include "tests/model/reference_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/random.h"

namespace switchyard::test {

namespace {

size_t at(int64_t i) { return static_cast<size_t>(i); }

double activate(ops::Activation kind, double x) {
  if (kind == ops::Activation::swiglu) return x / (1 + std::exp(-x));
  if (kind == ops::Activation::gelu_erf) return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
  const double inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1 + std::tanh(inner));
}

}  // namespace

// The factor of an element under dropout: 0 or 1 / (1 - p).
double ReferenceModel::kept(double probability, const std::string& site, int64_t element) const {
  if (!b_.dropout || probability == 0) return 1;
  const RandomKey key{b_.seed, static_cast<uint32_t>(b_.step), random_purpose(site)};
  const bool keep = key.word(static_cast<uint64_t>(element)) >= dropout_threshold(probability);
  return keep ? 1 / (1 - probability) : 0;
}

void ReferenceModel::add_dropped(Matrix& sum, const Matrix& branch, const std::string& site) const {
  const int64_t first = b_.first_sample * b_.length * c_.hidden;
  for (int64_t i = 0; i < rows_ * c_.hidden; ++i) {
    sum[at(i)] += branch[at(i)] * kept(c_.hidden_dropout, site, first + i);
  }
}

ReferenceModel::Matrix ReferenceModel::embedding() const {
  Matrix embedded(at(rows_ * c_.hidden));
  const auto& words = w_.at("embedding.word.weight");
  const auto positions = w_.find("embedding.position.weight");
  for (int64_t r = 0; r < rows_; ++r) {
    for (int64_t i = 0; i < c_.hidden; ++i) {
      double& value = embedded[at(r * c_.hidden + i)];
      value = words[at(b_.tokens[at(r)] * c_.hidden + i)];
      if (positions != w_.end()) value += positions->second[at(r % b_.length * c_.hidden + i)];
    }
  }
  Matrix h(embedded.size(), 0.0);
  add_dropped(h, embedded, "embedding.dropout");
  return h;
}

ReferenceModel::Matrix ReferenceModel::norm(const Matrix& h, const std::string& name) const {
  Matrix y(h.size());
  const int64_t n = c_.hidden;
  const bool layer = c_.norm == ops::Norm::layer;
  const auto& weight = w_.at(name + ".weight");
  const auto shift = w_.find(name + ".bias");
  for (int64_t r = 0; r < rows_; ++r) {
    double mean = 0, square = 0;
    for (int64_t i = 0; layer && i < n; ++i) mean += h[at(r * n + i)] / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) {
      square += (h[at(r * n + i)] - mean) * (h[at(r * n + i)] - mean) / static_cast<double>(n);
    }
    for (int64_t i = 0; i < n; ++i) {
      double& value = y[at(r * n + i)];
      value = (h[at(r * n + i)] - mean) / std::sqrt(square + c_.norm_epsilon) * weight[at(i)];
      if (shift != w_.end()) value += shift->second[at(i)];
    }
  }
  return y;
}

ReferenceModel::Matrix ReferenceModel::linear(const Matrix& x, const std::string& name,
                                              int64_t out) const {
  const int64_t in = static_cast<int64_t>(x.size()) / rows_;
  const auto& weight = w_.at(name + ".weight");
  const auto bias = w_.find(name + ".bias");
  Matrix y(at(rows_ * out));
  for (int64_t r = 0; r < rows_; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = bias == w_.end() ? 0.0 : bias->second[at(o)];
      for (int64_t i = 0; i < in; ++i) sum += x[at(r * in + i)] * weight[at(o * in + i)];
      y[at(r * out + o)] = sum;
    }
  }
  return y;
}

// Llama 3.1's scaling by the wavelength, as its authors wrote it.
double ReferenceModel::frequency(int64_t channel) const {
  const double exponent = -2 * static_cast<double>(channel) / static_cast<double>(c_.rotary_dim());
  const double plain = std::pow(c_.rotary_base, exponent);
  if (!c_.rope_scaling) return plain;
  const double wavelength = 2 * std::numbers::pi / plain;
  const auto original = static_cast<double>(c_.rope_original_positions);
  if (wavelength < original / c_.rope_high_frequency) return plain;
  if (wavelength > original / c_.rope_low_frequency) return plain / c_.rope_factor;
  const double smooth = (original / wavelength - c_.rope_low_frequency) /
                        (c_.rope_high_frequency - c_.rope_low_frequency);
  return (1 - smooth) * plain / c_.rope_factor + smooth * plain;
}

void ReferenceModel::rotate(Matrix& x, int64_t heads) const {
  if (c_.positions != Positions::rotary) return;
  const int64_t half = c_.rotary_dim() / 2;
  for (int64_t r = 0; r < rows_; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(r % b_.length) * frequency(i);
        double& first = x[at((r * heads + h) * c_.head_dim + i)];
        double& second = x[at((r * heads + h) * c_.head_dim + i + half)];
        const double a = first, b = second;
        first = a * std::cos(angle) - b * std::sin(angle);
        second = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }
}

ReferenceModel::Matrix ReferenceModel::attention(const Matrix& y, const std::string& prefix) const {
  const int64_t d = c_.head_dim, groups = c_.query_groups, length = b_.length;
  Matrix q = linear(y, prefix + "attention.q", c_.heads * d);
  Matrix k = linear(y, prefix + "attention.k", groups * d);
  const Matrix v = linear(y, prefix + "attention.v", groups * d);
  rotate(q, c_.heads);
  rotate(k, groups);
  Matrix out(at(rows_ * c_.heads * d), 0.0);
  for (int64_t row = 0; row < rows_; ++row) {
    const int64_t sample = row / length, query = row % length;
    for (int64_t h = 0; h < c_.heads; ++h) {
      const int64_t group = h / (c_.heads / groups);
      std::vector<double> weights(at(query + 1));
      double total = 0;
      for (int64_t key = 0; key <= query; ++key) {
        double score = 0;
        for (int64_t i = 0; i < d; ++i) {
          score += q[at((row * c_.heads + h) * d + i)] *
                   k[at(((sample * length + key) * groups + group) * d + i)];
        }
        total += weights[at(key)] = std::exp(score / std::sqrt(static_cast<double>(d)));
      }
      for (int64_t key = 0; key <= query; ++key) {
        const int64_t element =
            (((b_.first_sample + sample) * c_.heads + h) * length + query) * length + key;
        const double weight = weights[at(key)] / total *
                              kept(c_.attention_dropout, prefix + "attention.dropout", element);
        for (int64_t i = 0; i < d; ++i) {
          out[at((row * c_.heads + h) * d + i)] +=
              weight * v[at(((sample * length + key) * groups + group) * d + i)];
        }
      }
    }
  }
  return linear(out, prefix + "attention.output", c_.hidden);
}

ReferenceModel::Matrix ReferenceModel::mlp(const Matrix& y, const std::string& prefix) const {
  Matrix up = linear(y, prefix + "mlp.up", c_.ffn_hidden);
  if (c_.activation == ops::Activation::swiglu) {
    const Matrix gate = linear(y, prefix + "mlp.gate", c_.ffn_hidden);
    for (size_t i = 0; i < up.size(); ++i) up[i] *= activate(c_.activation, gate[i]);
  } else {
    for (double& value : up) value = activate(c_.activation, value);
  }
  return linear(up, prefix + "mlp.down", c_.hidden);
}

std::vector<double> ReferenceModel::logits() const {
  Matrix h = embedding();
  for (int64_t layer = 0; layer < c_.layers; ++layer) {
    const std::string prefix = "layers." + std::to_string(layer) + ".";
    const Matrix input = h;
    add_dropped(h, attention(norm(input, prefix + "attention.norm"), prefix),
                prefix + "attention.output.dropout");
    const Matrix& second = c_.parallel_residual ? input : h;
    const Matrix branch = mlp(norm(second, prefix + "mlp.norm"), prefix);
    add_dropped(h, branch, prefix + "mlp.dropout");
  }
  return linear(norm(h, "final_norm"), c_.tied_output ? "embedding.word" : "head", c_.vocabulary);
}

double ReferenceModel::loss_sum() const {
  const std::vector<double> all = logits();
  double loss = 0;
  for (int64_t r = 0; r < rows_; ++r) {
    if (b_.targets[at(r)] < 0) continue;
    const double* row = all.data() + r * c_.vocabulary;
    double sum = 0;
    for (int64_t i = 0; i < c_.vocabulary; ++i) sum += std::exp(row[i]);
    loss += std::log(sum) - row[b_.targets[at(r)]];
  }
  return loss;
}

}  // namespace switchyard::test
