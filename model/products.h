#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ops/matmul/product.h"
#include "model/config.h"
#include "model/local_sizes.h"

namespace switchyard {

// A matrix product of a training step. What is planned, timed and listed is taken from here.
struct CountedProduct {
  std::string name;  // what it is called, and its pass: "attention qkv forward"
  ops::MatmulProduct product;
  int64_t times = 0;  // in a step of this rank

  double operations() const {  // of all of them
    return product.operations() * static_cast<double>(times);
  }
};

// A training step of one rank, as far as its products follow from it.
struct StepShape {
  GptConfig config;  // completed
  LocalSizes sizes;
  DType dtype = DType::f32;     // of weights and activations
  int64_t exchange_chunks = 1;  // GptStage::Options
  int64_t head_chunk = 0;       // rows whose logits live at once
  int64_t microbatches = 1;
};

// What layers state of the products that they run, each beside the code that runs them.
class ProductList {
 public:
  explicit ProductList(const StepShape& step) : step_(step) {}

  const StepShape& step() const { return step_; }
  // Leaves out what is run 0 times. Weight gradients overwrite `overwrites` times, at most `times`,
  // and add then: the first microbatch of a step overwrites, the others add.
  void add(std::string_view name, const ops::MatmulProduct& product, int64_t times);
  void add_weight_gradient(std::string_view name, ops::MatmulProduct product, int64_t times,
                           int64_t overwrites);
  // What `state` adds for one layer, for so many.
  void add_layers(int64_t layers, const std::function<void(ProductList&)>& state);

  const std::vector<CountedProduct>& products() const { return products_; }

 private:
  StepShape step_;
  std::vector<CountedProduct> products_;
};

}  // namespace switchyard
