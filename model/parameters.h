#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "parallel/mesh.h"
#include "parallel/parameter.h"

namespace switchyard {

// Names of global tensors (docs/design.md): "layers.3.attention.q.weight" and so on.
std::string layer_name(int64_t layer, std::string_view rest);

// Which parameters a rank holds: layers [first_layer, last_layer) of the whole model, with the
// embedding on the first stage and final norm and head on the last.
struct StagePart {
  int64_t first_layer = 0;
  int64_t last_layer = 0;
  bool first = true;
  bool last = true;
};
std::vector<Parameter> make_parameters(const GptConfig& config, const Layout& layout, int tp_rank,
                                       const StagePart& part);

// Consecutive parameters whose storage is one matrix or one vector to a product, such as q, k, v.
// Without names it is none, and converts to false.
class ParameterGroup {
 public:
  ParameterGroup() = default;
  // `all` must outlive this object and keep its elements where they are.
  ParameterGroup(std::span<const Parameter> all, std::initializer_list<std::string> names);

  explicit operator bool() const { return !members_.empty(); }
  Tensor weight() const;    // throws Error when the parts do not lie next to one another
  Tensor gradient() const;  // f32
  int first() const { return first_; }
  int count() const { return static_cast<int>(members_.size()); }

 private:
  Tensor joined(Tensor Parameter::*member) const;

  std::span<const Parameter> members_;
  int first_ = 0;
};

// Writes the initial weights: a normal number for each element of the global tensor, keyed by
// (seed, 0, name), so that every layout starts alike; zeros where the vocabulary is padded. The
// numbers are the host's on every device: to device memory they go piece by piece, through
// `stream`, and are there when the call returns.
void initialize_parameters(std::span<const Parameter> parameters, uint64_t seed, Stream& stream);

}  // namespace switchyard
