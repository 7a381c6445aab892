#include "model/exchange/reference_math.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr const char* where = "reference logits";

float gelu_tanh(float x) {
  const double u = x;
  return static_cast<float>(
      0.5 * u * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (u + 0.044715 * u * u * u))));
}

float gelu_erf(float x) {
  const double u = x;
  return static_cast<float>(0.5 * u * (1 + std::erf(u / std::numbers::sqrt2)));
}

float silu(float x) {
  const double u = x;
  return static_cast<float>(u / (1 + std::exp(-u)));
}

double dot(const float* a, const float* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// The output [head_dim] of one query head, whose keys and values lie `stride` apart.
void attend(const float* q, const float* k, const float* v, size_t seen, size_t head_dim,
            size_t stride, float* out) {
  std::vector<double> weights(seen);
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  for (size_t s = 0; s < seen; ++s) weights[s] = scale * dot(q, k + s * stride, head_dim);
  const double largest = *std::max_element(weights.begin(), weights.end());
  for (double& weight : weights) weight = std::exp(weight - largest);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (size_t d = 0; d < head_dim; ++d) {
    double sum = 0;
    for (size_t s = 0; s < seen; ++s) sum += weights[s] * v[s * stride + d];
    out[d] = static_cast<float>(sum / total);
  }
}

}  // namespace

Rows layer_norm(const Rows& x, const Rows& weight, const Rows& bias, double epsilon) {
  const size_t n = weight.size();
  Rows y(x.size());
  for (size_t row = 0; row < x.size(); row += n) {
    const float* in = x.data() + row;
    const double mean = std::accumulate(in, in + n, 0.0) / static_cast<double>(n);
    double squares = 0;
    for (size_t i = 0; i < n; ++i) squares += (in[i] - mean) * (in[i] - mean);
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + epsilon);
    for (size_t i = 0; i < n; ++i) {
      y[row + i] = static_cast<float>((in[i] - mean) * factor * weight[i] + bias[i]);
    }
  }
  return y;
}

Rows rms_norm(const Rows& x, const Rows& weight, double epsilon) {
  const size_t n = weight.size();
  Rows y(x.size());
  for (size_t row = 0; row < x.size(); row += n) {
    const float* in = x.data() + row;
    const double factor = 1 / std::sqrt(dot(in, in, n) / static_cast<double>(n) + epsilon);
    for (size_t i = 0; i < n; ++i) y[row + i] = static_cast<float>(in[i] * factor * weight[i]);
  }
  return y;
}

void apply_activation(Rows& x, const std::string& name) {
  const auto each = [&x](float (*f)(float)) { std::transform(x.begin(), x.end(), x.begin(), f); };
  if (name == "gelu" || name == "gelu_python") return each(gelu_erf);
  if (name.starts_with("gelu_") && name != "gelu_10") return each(gelu_tanh);
  check(name == "silu" || name == "swish", where, "activation {}", name);
  each(silu);
}

void add(Rows& x, const Rows& y) {
  std::transform(x.begin(), x.end(), y.begin(), x.begin(), std::plus<>());
}

void multiply(Rows& x, const Rows& y) {
  std::transform(x.begin(), x.end(), y.begin(), x.begin(), std::multiplies<>());
}

Rows causal_attention(const Rows& q, const Rows& k, const Rows& v, size_t tokens, size_t heads,
                      size_t key_heads) {
  const size_t head_dim = q.size() / tokens / heads;
  const size_t stride = key_heads * head_dim;
  Rows out(q.size());
#pragma omp parallel for schedule(static)
  for (size_t head = 0; head < heads; ++head) {
    const size_t group = head / (heads / key_heads) * head_dim;
    for (size_t t = 0; t < tokens; ++t) {
      const size_t at = (t * heads + head) * head_dim;
      attend(&q[at], &k[group], &v[group], t + 1, head_dim, stride, &out[at]);
    }
  }
  return out;
}

void rotate_halves(Rows& x, size_t tokens, size_t heads, const std::vector<double>& frequencies) {
  const size_t head_dim = x.size() / tokens / heads, half = frequencies.size();
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(t) * frequencies[i];
      const double cosine = std::cos(angle), sine = std::sin(angle);
      for (size_t head = 0; head < heads; ++head) {
        float& a = x[(t * heads + head) * head_dim + i];
        float& b = x[(t * heads + head) * head_dim + i + half];
        const double first = a, second = b;
        a = static_cast<float>(first * cosine - second * sine);
        b = static_cast<float>(second * cosine + first * sine);
      }
    }
  }
}

}  // namespace switchyard
