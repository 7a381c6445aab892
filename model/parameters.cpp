#include "model/parameters.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace switchyard {

namespace {

// Appends the parameters of a stage in the order in which they are laid out.
class Builder {
 public:
  Builder(const GptConfig& config, const Layout& layout, int tp_rank)
      : config_(config), tp_(layout.tp), tp_rank_(tp_rank) {}

  void embedding(bool head_here) {
    layer_ = -1;
    vocabulary("embedding.word.weight", config_.tied_output, true).gradient_overwritten =
        config_.tied_output && head_here;  // the head comes first
    if (config_.positions == Positions::learned) {
      whole("embedding.position.weight", {config_.max_positions, config_.hidden});
    }
  }

  void block(int64_t layer) {
    layer_ = static_cast<int>(layer);
    prefix_ = layer_name(layer, "");
    norm("attention.norm");
    attention();
    norm("mlp.norm");
    mlp();
    prefix_.clear();
  }

  void head(bool first_stage_too) {
    layer_ = static_cast<int>(config_.layers);
    norm("final_norm");
    if (!config_.tied_output) {
      vocabulary("head.weight", false, true).gradient_overwritten = true;
    } else if (!first_stage_too) {
      vocabulary("embedding.word.weight", true, false).gradient_overwritten = true;
    }
  }

  std::vector<Parameter> take() { return std::move(list_); }

 private:
  Parameter& append(const std::string& name, const Shape& global) {
    Parameter p;
    p.name = prefix_ + name;
    p.global = global;
    p.box = Box::whole(global);
    p.local = global;
    p.layer = layer_;
    p.deviation = static_cast<float>(config_.init_deviation);
    list_.push_back(std::move(p));
    return list_.back();
  }

  Parameter& whole(const std::string& name, const Shape& global) {
    Parameter& p = append(name, global);
    p.replicas = tp_;
    return p;
  }

  // One of so many equal parts of an axis, for each tp rank or for some next to each other.
  Parameter& split(const std::string& name, const Shape& global, int axis, int parts) {
    Parameter& p = append(name, global);
    p.replicas = tp_ / parts;
    const int64_t extent = global[axis] / parts;
    p.box.extent[axis] = p.local[axis] = extent;
    p.box.offset[axis] = extent * (tp_rank_ / p.replicas);
    return p;
  }

  Parameter& vocabulary(const std::string& name, bool tied, bool stored) {
    Parameter& p = append(name, {config_.vocabulary, config_.hidden});
    const int64_t rows = config_.padded_vocabulary() / tp_;
    p.box.offset[0] = std::min(rows * tp_rank_, config_.vocabulary);
    p.box.extent[0] = std::min(rows, config_.vocabulary - p.box.offset[0]);
    p.local[0] = rows;
    p.tied = tied;
    p.stored = stored;
    return p;
  }

  static void no_decay(Parameter& p, Initial initial) {
    p.decay = false;
    p.initial = initial;
  }

  void norm(const std::string& name) {
    no_decay(whole(name + ".weight", {config_.hidden}), Initial::ones);
    if (config_.norm == ops::Norm::layer && config_.norm_bias) {
      no_decay(whole(name + ".bias", {config_.hidden}), Initial::zeros);
    }
  }

  struct Rows {
    const char* name;
    int64_t count;
    int parts;
  };

  // Matrices that read the same input and are split by rows: one fused matrix, one fused bias.
  void column_parallel(std::initializer_list<Rows> matrices, bool bias) {
    for (const auto& [name, rows, parts] : matrices) {
      Parameter& p = split(std::string(name) + ".weight", {rows, config_.hidden}, 0, parts);
      p.fused = p.gradient_overwritten = true;
    }
    if (!bias) return;
    for (const auto& [name, rows, parts] : matrices) {
      Parameter& p = split(std::string(name) + ".bias", {rows}, 0, parts);
      p.fused = true;
      no_decay(p, Initial::zeros);
    }
  }

  // Projections back into the residual stream start smaller: Radford et al. 2019, section 2.3.
  void row_parallel(const std::string& name, int64_t columns, bool bias) {
    Parameter& p = split(name + ".weight", {config_.hidden, columns}, 1, tp_);
    p.deviation = static_cast<float>(config_.init_deviation /
                                     std::sqrt(2.0 * static_cast<double>(config_.layers)));
    p.gradient_overwritten = true;
    if (bias) no_decay(whole(name + ".bias", {config_.hidden}), Initial::zeros);
  }

  void attention() {
    const int64_t queries = config_.heads * config_.head_dim;
    const int64_t keys = config_.query_groups * config_.head_dim;
    // Where tp is a multiple of the groups, the ranks of a group's query heads share its keys.
    const int parts = std::min(tp_, static_cast<int>(config_.query_groups));
    column_parallel(
        {{"attention.q", queries, tp_}, {"attention.k", keys, parts}, {"attention.v", keys, parts}},
        config_.has_qkv_bias());
    row_parallel("attention.output", queries, config_.has_attention_output_bias());
  }

  void mlp() {
    const bool bias = config_.has_mlp_bias();
    const Rows up{"mlp.up", config_.ffn_hidden, tp_};
    if (config_.activation == ops::Activation::swiglu) {
      column_parallel({{"mlp.gate", config_.ffn_hidden, tp_}, up}, bias);
    } else {
      column_parallel({up}, bias);
    }
    row_parallel("mlp.down", config_.ffn_hidden, bias);
  }

  const GptConfig& config_;
  int tp_, tp_rank_;
  int layer_ = 0;
  std::string prefix_;
  std::vector<Parameter> list_;
};

}  // namespace

std::string layer_name(int64_t layer, std::string_view rest) {
  return fmt::format("layers.{}.{}", layer, rest);
}

std::vector<Parameter> make_parameters(const GptConfig& config, const Layout& layout, int tp_rank,
                                       const StagePart& part) {
  Builder builder(config, layout, tp_rank);
  if (part.first) builder.embedding(part.last);
  for (int64_t layer = part.first_layer; layer < part.last_layer; ++layer) builder.block(layer);
  if (part.last) builder.head(part.first);
  return builder.take();
}

ParameterGroup::ParameterGroup(std::span<const Parameter> all,
                               std::initializer_list<std::string> names) {
  const auto first = std::find_if(all.begin(), all.end(),
                                  [&](const Parameter& p) { return p.name == *names.begin(); });
  first_ = static_cast<int>(first - all.begin());
  bool found = all.size() - static_cast<size_t>(first_) >= names.size();
  for (size_t i = 0; found && i < names.size(); ++i) {
    found = first[static_cast<std::ptrdiff_t>(i)].name == names.begin()[i];
  }
  check(found, "model", "parameters '{}' and the {} behind it were asked for; they are not here",
        *names.begin(), names.size() - 1);
  members_ = all.subspan(static_cast<size_t>(first_), names.size());
}

Tensor ParameterGroup::joined(Tensor Parameter::*member) const {
  if (members_.empty()) return {};
  const Tensor& head = members_.front().*member;
  check(static_cast<bool>(head), "model", "parameter '{}' has no memory; bind FlatBuffers first",
        members_.front().name);
  Shape shape = head.shape;
  const char* end = static_cast<const char*>(head.data) + head.bytes();
  for (const Parameter& p : members_.subspan(1)) {
    const Tensor& part = p.*member;
    check(part.data == end, "model", "'{}' does not lie behind '{}'; fused parameters must", p.name,
          members_.front().name);
    shape[0] += part.shape[0];
    end += part.bytes();
  }
  return Tensor(head.data, head.dtype, shape, head.device);
}

Tensor ParameterGroup::weight() const { return joined(&Parameter::weight); }

Tensor ParameterGroup::gradient() const { return joined(&Parameter::gradient); }

}  // namespace switchyard
