#include "model/products.h"

#include <algorithm>

#include "model/local_sizes.h"

namespace switchyard {

namespace {

// A projection with weights [out, in] and the rows that go through it.
struct Projection {
  std::string name;
  int64_t rows, in, out;
  int64_t microbatches, layers;
  DType dtype;
};

Product forward(const Projection& p) {
  Product product;
  product.name = p.name + " forward";
  product.m = p.rows;
  product.n = p.out;
  product.k = p.in;
  product.transpose_b = true;
  product.inputs = product.output = p.dtype;
  product.times = p.microbatches * p.layers;
  return product;
}

Product input_gradient(const Projection& p) {
  Product product = forward(p);
  product.name = p.name + " input gradient";
  std::swap(product.n, product.k);
  product.transpose_b = false;
  return product;
}

// The first microbatch of a step overwrites the gradient, the others add to it.
void add_weight_gradients(std::vector<Product>& all, const Projection& p, bool row_sums) {
  Product product;
  product.name = p.name + " weight gradient";
  product.m = p.out;
  product.n = p.in;
  product.k = p.rows;
  product.transpose_a = true;
  product.inputs = p.dtype;
  product.output = DType::f32;
  product.row_sums = row_sums;
  product.times = p.layers;
  all.push_back(product);
  product.accumulate = true;
  product.times = p.layers * (p.microbatches - 1);
  if (product.times > 0) all.push_back(product);
}

struct BlockProjections {
  Projection qkv, output, up, down;
};

BlockProjections projections(const LocalSizes& s, DType dtype, int64_t microbatches,
                             int64_t layers) {
  const auto make = [&](const char* name, int64_t in, int64_t out) {
    return Projection{name, s.rows, in, out, microbatches, layers, dtype};
  };
  return {make("attention qkv", s.hidden, s.qkv_width()),
          make("attention output", s.attention_width(), s.hidden),
          make("MLP up", s.hidden, s.up_width), make("MLP down", s.ffn, s.hidden)};
}

void add_block_forward(std::vector<Product>& all, const BlockProjections& p,
                       const GptConfig& config) {
  Product qkv = forward(p.qkv), up = forward(p.up);
  qkv.bias = up.bias = config.linear_bias;
  up.gelu_input = config.activation == ops::Activation::gelu_tanh;
  all.insert(all.end(), {qkv, forward(p.output), up, forward(p.down)});
}

void add_block_backward(std::vector<Product>& all, const BlockProjections& p,
                        const GptConfig& config) {
  Product down = input_gradient(p.down);
  down.gelu_gradient = config.activation == ops::Activation::gelu_tanh;
  all.push_back(down);
  add_weight_gradients(all, p.down, false);
  add_weight_gradients(all, p.up, config.linear_bias);
  all.push_back(input_gradient(p.up));
  all.push_back(input_gradient(p.output));
  add_weight_gradients(all, p.output, false);
  add_weight_gradients(all, p.qkv, config.linear_bias);
  all.push_back(input_gradient(p.qkv));
}

// The output layer runs by chunks of rows, forward and backward of one behind the other.
void add_head(std::vector<Product>& all, const LocalSizes& s, const GptStage::Options& options,
              int64_t microbatches) {
  const int64_t chunk = options.head_chunk > 0 ? std::min(options.head_chunk, s.rows) : s.rows;
  const auto add = [&](int64_t rows, int64_t times, bool first) {
    if (times == 0) return;
    const Projection p{"output layer", rows, s.hidden, s.vocabulary_rows, times, 1, options.dtype};
    all.push_back(forward(p));
    all.push_back(input_gradient(p));
    std::vector<Product> gradients;
    add_weight_gradients(gradients, p, false);
    if (!first) {  // all of them add
      gradients.back().accumulate = true;
      gradients.back().times = times;
      gradients.erase(gradients.begin(), gradients.end() - 1);
    }
    all.insert(all.end(), gradients.begin(), gradients.end());
  };
  add(chunk, s.rows / chunk * microbatches, true);
  add(s.rows % chunk, s.rows % chunk == 0 ? 0 : microbatches, false);
}

}  // namespace

std::vector<Product> step_products(const GptConfig& config, const Layout& layout,
                                   const Coordinates& place, const GptStage::Options& options,
                                   int64_t microbatches) {
  GptStage::check_layout(config, layout, options);
  const GptConfig c = config.completed();
  const LocalSizes s =
      local_sizes(c, layout, place.tp, options.micro_batch, options.sequence_length);
  const auto stages = GptStage::stage_layers(config, layout, options);
  const BlockProjections p =
      projections(s, options.dtype, microbatches, stages[static_cast<size_t>(place.pp)]);
  std::vector<Product> all;
  add_block_forward(all, p, c);
  if (place.pp + 1 == layout.pp) add_head(all, s, options, microbatches);
  add_block_backward(all, p, c);
  return all;
}

}  // namespace switchyard
