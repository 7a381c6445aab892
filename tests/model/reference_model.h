#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/config.h"

namespace switchyard::test {

// Weights of the global tensors by name, row-major.
using Weights = std::map<std::string, std::vector<double>>;

struct ReferenceBatch {
  int64_t samples = 0;
  int64_t length = 0;
  std::vector<int32_t> tokens, targets;  // [samples, length]; a target of -1 is not scored
  int64_t first_sample = 0;
  bool dropout = false;
  uint64_t seed = 0;
  int64_t step = 0;
};

// The model in float64, one definition after the other, for one batch on one rank.
class ReferenceModel {
 public:
  ReferenceModel(const GptConfig& config, const Weights& weights, const ReferenceBatch& batch)
      : c_(config), w_(weights), b_(batch), rows_(batch.samples * batch.length) {}

  std::vector<double> logits() const;  // [rows, vocabulary]
  double loss_sum() const;

 private:
  using Matrix = std::vector<double>;  // [rows, n]
  Matrix embedding() const;
  Matrix norm(const Matrix& h, const std::string& name) const;
  Matrix linear(const Matrix& x, const std::string& name, int64_t out) const;
  double frequency(int64_t channel) const;
  void rotate(Matrix& x, int64_t heads) const;
  Matrix attention(const Matrix& y, const std::string& prefix) const;
  Matrix mlp(const Matrix& y, const std::string& prefix) const;
  void add_dropped(Matrix& sum, const Matrix& branch, const std::string& site) const;
  double kept(double probability, const std::string& site, int64_t element) const;

  GptConfig c_;
  const Weights& w_;
  const ReferenceBatch& b_;
  int64_t rows_;
};

}  // namespace switchyard::test
