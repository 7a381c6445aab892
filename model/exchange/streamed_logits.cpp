#include "model/exchange/streamed_logits.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul/matmul.h"
#include "model/block.h"
#include "model/rotary_constants.h"
#include "parallel/comm/communicators.h"

namespace switchyard {

namespace {

constexpr int64_t head_bytes = int64_t{64} << 20;  // of the output layer at once

int64_t weight_bytes(std::span<const Parameter> parameters) {
  int64_t bytes = 0;
  for (const Parameter& p : parameters) bytes += p.local.elements() * size_of(DType::f32);
  return bytes;
}

std::vector<Parameter> layer_parameters(const GptConfig& config, int64_t layer) {
  return make_parameters(config, {}, 0, {layer, layer + 1, false, false});
}

const Parameter& named(std::span<const Parameter> parameters, std::string_view name) {
  return *std::ranges::find(parameters, name, &Parameter::name);
}

class Stream32 {
 public:
  Stream32(const GptConfig& config, std::span<const int32_t> tokens, const LoadWeights& load)
      : tokens_(tokens),
        rows_(static_cast<int64_t>(tokens.size())),
        load_(load),
        self_(make_self_communicator()),
        context_{.config = config,
                 .sizes = local_sizes(config, {}, 0, 1, rows_),
                 .ops = {stream_, scratch_},
                 .exchange = RowExchange(*self_, stream_),
                 .positions = {},
                 .rotary_table = {}} {
    allocate_buffers();
  }

  std::vector<float> logits() {
    embed();
    for (int64_t layer = 0; layer < context_.config.layers; ++layer) run_block(layer);
    return read_out();
  }

 private:
  void allocate_buffers() {
    const Shape stream{rows_, context_.config.hidden};
    std::vector<BufferLine> lines = {{"stream", &flow_, stream, DType::f32},
                                     {"row", &row_, {1, context_.config.hidden}, DType::f32},
                                     {"branch", &context_.work.branch, stream, DType::f32},
                                     {"positions", &context_.positions, {rows_}, DType::i32}};
    if (context_.config.positions == Positions::rotary) {
      lines.push_back(rotary_line(context_, rows_));
    }
    auto table = block_table(stash_, context_.config, context_.sizes, DType::f32);
    table.insert(table.end(), lines.begin(), lines.end());
    arena_ = Arena("logits", bytes_of(table));
    allocate(table, arena_);
    ops::iota(context_.ops, context_.positions, 0);
    if (context_.rotary_table) write_rotary_table(context_);
  }

  // The parameters' weights, next to each other, loaded.
  void load(std::span<Parameter> parameters) {
    const int64_t bytes = weight_bytes(parameters);
    if (weights_.bytes() < bytes) {
      weights_ = Memory();
      weights_ = Memory(bytes, Device::cpu, "weights");
    }
    auto* at = static_cast<float*>(weights_.data());
    for (Parameter& p : parameters) {
      p.weight = Tensor(at, DType::f32, p.local);
      at += p.local.elements();
    }
    load_(parameters);
  }

  // Some rows of a parameter.
  Parameter part(Parameter p, int64_t first, int64_t count, void* to) const {
    p.box.offset[0] = first;
    p.box.extent[0] = p.local[0] = count;
    p.weight = Tensor(to, DType::f32, p.local);
    return p;
  }

  void embed() {
    const auto all = make_parameters(context_.config, {}, 0, {0, 0, true, false});
    for (int64_t i = 0; i < rows_; ++i) {
      const Tensor to = flow_.slice(0, i, i + 1);
      const int32_t token = tokens_[static_cast<size_t>(i)];
      const Parameter word = part(named(all, "embedding.word.weight"), token, 1, to.data);
      load_({&word, 1});
      if (context_.config.positions != Positions::learned) continue;
      const Parameter at = part(named(all, "embedding.position.weight"), i, 1, row_.data);
      load_({&at, 1});
      ops::add(context_.ops, to, row_, to);
    }
  }

  void run_block(int64_t layer) {
    auto parameters = layer_parameters(context_.config, layer);
    load(parameters);
    const Block block(context_, parameters, layer);
    block.first_norm(stash_).normalize(context_.ops, flow_);
    block.forward(stash_, flow_, stash_.output, {});
    std::swap(flow_, stash_.output);
  }

  std::vector<float> read_out() {
    const int64_t layers = context_.config.layers, vocabulary = context_.config.vocabulary;
    auto all = make_parameters(context_.config, {}, 0, {layers, layers, false, true});
    const std::span<Parameter> norm(all.begin(), all.end() - 1);  // the output layer is the last
    load(norm);
    const NormOutput output{&final_norm_.emplace(context_, norm, "final_norm"),
                            stash_.attention_input, stash_.attention_mean,
                            stash_.attention_reciprocal};
    output.normalize(context_.ops, flow_);
    const int64_t row_bytes = context_.config.hidden * size_of(DType::f32);
    const int64_t most = std::max<int64_t>(1, head_bytes / row_bytes);
    std::vector<float> logits(static_cast<size_t>(rows_ * vocabulary));
    for (int64_t first = 0; first < vocabulary; first += most) {
      add_logits(all.back(), first, std::min(most, vocabulary - first), logits);
    }
    return logits;
  }

  void add_logits(const Parameter& head, int64_t first, int64_t count, std::vector<float>& all) {
    std::vector<Parameter> chunk = {part(head, first, count, nullptr)};
    load(chunk);
    std::vector<float> made(static_cast<size_t>(rows_ * count));
    const Tensor to(made.data(), DType::f32, {rows_, count});
    ops::matmul(context_.ops, stash_.attention_input, chunk.front().weight, to,
                {.transpose_b = true});
    for (int64_t i = 0; i < rows_; ++i) {
      std::copy_n(made.data() + i * count, count,
                  all.data() + i * context_.config.vocabulary + first);
    }
  }

  std::span<const int32_t> tokens_;
  int64_t rows_;
  const LoadWeights& load_;
  Stream stream_;
  Scratch scratch_;
  std::unique_ptr<Communicator> self_;
  StageContext context_;
  Arena arena_;
  Memory weights_;
  Tensor flow_, row_;  // the residual stream
  BlockStash stash_;
  std::optional<NormLayer> final_norm_;
};

void check_tokens(const GptConfig& config, std::span<const int32_t> tokens) {
  check(!tokens.empty(), "logits", "no token was given; 1 or more are needed");
  const auto count = static_cast<int64_t>(tokens.size());
  check(config.positions == Positions::rotary || count <= config.max_positions, "logits",
        "{} tokens were given; the model has {} learned positions", count, config.max_positions);
  for (const int32_t token : tokens) {
    check(token >= 0 && token < config.vocabulary, "logits",
          "token {} was given; the vocabulary has {} tokens", token, config.vocabulary);
  }
}

}  // namespace

std::vector<float> streamed_logits(const GptConfig& config, std::span<const int32_t> tokens,
                                   const LoadWeights& load) {
  config.validate();
  const GptConfig complete = config.completed();
  check_tokens(complete, tokens);
  return Stream32(complete, tokens, load).logits();
}

int64_t streamed_bytes(const GptConfig& config) {
  const GptConfig complete = config.completed();
  return std::max(weight_bytes(layer_parameters(complete, 0)),
                  std::max(head_bytes, complete.hidden * size_of(DType::f32)));
}

}  // namespace switchyard
