#include "model/products.h"

#include <algorithm>

#include "model/local_sizes.h"
#include "parallel/row_chunks.h"

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

// A product of all rows beside an exchange, as RowExchange divides it: once for each rank's part of
// each chunk.
void add_beside_exchange(std::vector<Product>& all, Product product, const RowChunks& chunks,
                         int64_t own_rows) {
  const int64_t ranks = product.m / own_rows, times = product.times;
  if (ranks > 1 && chunks.count() > 1) {
    const int64_t rest = own_rows % chunks.length();
    product.m = chunks.length();
    product.times = times * ranks * (own_rows / chunks.length());
    all.push_back(product);
    if (rest == 0) return;
    product.m = rest;
    product.times = times * ranks;
  }
  all.push_back(product);
}

class BlockProducts {
 public:
  BlockProducts(const GptConfig& config, const LocalSizes& sizes, const BlockProjections& p,
                int64_t exchange_chunks)
      : config_(config), own_rows_(sizes.own_rows), p_(p), chunks_(own_rows_, exchange_chunks) {}

  void add_forward(std::vector<Product>& all) const {
    Product qkv = forward(p_.qkv), up = forward(p_.up);
    qkv.bias = up.bias = config_.linear_bias;
    up.gelu_input = fuses_gelu();
    for (const Product& product : {qkv, forward(p_.output), up, forward(p_.down)})
      add(all, product);
  }

  void add_backward(std::vector<Product>& all) const {
    Product down = input_gradient(p_.down);
    down.gelu_gradient = fuses_gelu();
    add(all, down);
    add_weight_gradients(all, p_.down, false);
    add_weight_gradients(all, p_.up, config_.linear_bias);
    add(all, input_gradient(p_.up));
    add(all, input_gradient(p_.output));
    add_weight_gradients(all, p_.output, false);
    add_weight_gradients(all, p_.qkv, config_.linear_bias);
    add(all, input_gradient(p_.qkv));
  }

 private:
  bool fuses_gelu() const { return config_.activation == ops::Activation::gelu_tanh; }
  void add(std::vector<Product>& all, const Product& product) const {
    add_beside_exchange(all, product, chunks_, own_rows_);
  }

  const GptConfig& config_;
  int64_t own_rows_;
  const BlockProjections& p_;
  RowChunks chunks_;
};

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
  const BlockProducts block(c, s, p, options.exchange_chunks);
  std::vector<Product> all;
  block.add_forward(all);
  if (place.pp + 1 == layout.pp) add_head(all, s, options, microbatches);
  block.add_backward(all);
  return all;
}

}  // namespace switchyard
