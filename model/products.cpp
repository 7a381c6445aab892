#include "model/products.h"

#include <fmt/core.h>

namespace switchyard {

void ProductList::add(std::string_view name, const ops::MatmulProduct& product, int64_t times) {
  if (times == 0) return;
  products_.push_back({fmt::format("{} {}", name, product.pass()), product.dense(), times});
}

void ProductList::add_weight_gradient(std::string_view name, ops::MatmulProduct product,
                                      int64_t times, int64_t overwrites) {
  add(name, product, overwrites);
  product.accumulate = true;
  add(name, product, times - overwrites);
}

void ProductList::add_layers(int64_t layers, const std::function<void(ProductList&)>& state) {
  const size_t begin = products_.size();
  state(*this);
  for (size_t i = begin; i < products_.size(); ++i) products_[i].times *= layers;
}

}  // namespace switchyard
