#include "model/generator.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "model/block.h"
#include "model/embedding_layer.h"
#include "model/head_layer.h"
#include "model/rotary_constants.h"
#include "parallel/comm/communicators.h"

namespace switchyard {

namespace {

constexpr int64_t most_rows = 128;  // fed at once; a longer prompt goes in pieces

// Buffers for one piece of the prompt, allocated anew in the same arena for every piece.
struct PromptPiece {
  TokenBatch batch;
  Tensor branch, embedded;
  BlockStash blocks[2];  // in turn, so that a block's input and output are apart
  HeadStash head;        // of the last row
  Tensor logits;         // [1, padded vocabulary]
};

std::vector<BufferLine> piece_table(PromptPiece& piece, const GptConfig& config,
                                    const LocalSizes& sizes, DType dtype) {
  const Shape stream{sizes.rows, sizes.hidden};
  std::vector<BufferLine> table = {{"branch", &piece.branch, stream, dtype},
                                   {"embedded", &piece.embedded, stream, dtype},
                                   {"logits", &piece.logits, {1, sizes.vocabulary_rows}, dtype}};
  LocalSizes last = sizes;
  last.rows = last.own_rows = 1;
  for (const auto& part :
       {block_table(piece.blocks[0], config, sizes, dtype),
        block_table(piece.blocks[1], config, sizes, dtype), head_table(piece.head, last, dtype)}) {
    table.insert(table.end(), part.begin(), part.end());
  }
  return table;
}

LocalSizes piece_sizes(const GptConfig& config, int64_t context_length, int64_t first_row,
                       int64_t rows) {
  LocalSizes sizes = local_sizes(config, {}, 0, 1, context_length);
  sizes.rows = sizes.own_rows = rows;
  sizes.first_own_row = first_row;
  return sizes;
}

void check_generator(const GptConfig& config, std::span<const Parameter> parameters,
                     int64_t context_length, const ops::Context& context) {
  config.validate();
  check(context_length >= 1, "generator", "a context of {} tokens was given; 1 or more is allowed",
        context_length);
  check(config.positions == Positions::rotary || context_length <= config.max_positions,
        "generator", "a context of {} tokens was given; the model has {} learned positions",
        context_length, config.max_positions);
  check(!parameters.empty() && parameters.front().weight, "generator",
        "{} parameters without memory were given; all of a 1x1x1 model, bound, are needed",
        parameters.size());
  check(parameters.front().weight.device == context.stream.device(), "generator",
        "weights on '{}' and a stream of '{}' were given; both must be of one device",
        name_of(parameters.front().weight.device), name_of(context.stream.device()));
}

}  // namespace

struct Generator::State {
  State(const GptConfig& given, std::span<const Parameter> parameters, int64_t context_length,
        ops::Context operators);
  void allocate_cache();
  void feed_piece(std::span<const int32_t> given);
  void copy_logits();

  GptConfig config;
  int64_t capacity;
  int64_t length = 0;
  DType dtype;
  std::unique_ptr<Communicator> self;
  StageContext context;
  Arena cache_arena, piece_arena;
  Tensor positions, tokens;  // i32 [capacity]
  Tensor last_logits;        // f32 [vocabulary], on the device
  std::vector<KeyValueCache> caches;
  PromptPiece piece;
  std::optional<EmbeddingLayer> embedding;
  std::deque<Block> blocks;
  std::optional<HeadLayer> head;
  std::vector<float> logits;
};

Generator::State::State(const GptConfig& given, std::span<const Parameter> parameters,
                        int64_t context_length, ops::Context operators)
    : config(given.completed()),
      capacity(context_length),
      dtype(parameters.front().weight.dtype),
      self(make_self_communicator()),
      context{.config = config,
              .sizes = {},
              .ops = operators,
              .exchange = RowExchange(*self, operators.stream),
              .positions = {},
              .rotary_table = {}},
      logits(static_cast<size_t>(config.vocabulary)) {
  allocate_cache();
  const LocalSizes largest = piece_sizes(config, capacity, 0, std::min(capacity, most_rows));
  piece_arena = Arena("generation", bytes_of(piece_table(piece, config, largest, dtype)),
                      operators.stream.device());
  embedding.emplace(context, parameters);
  for (int64_t i = 0; i < config.layers; ++i) blocks.emplace_back(context, parameters, i);
  head.emplace(context, parameters);
}

void Generator::State::allocate_cache() {
  const bool rotary = config.positions == Positions::rotary;
  caches.resize(static_cast<size_t>(config.layers));
  const Shape cache_shape{capacity, config.query_groups * config.head_dim};
  std::vector<BufferLine> lines = {{"positions", &positions, {capacity}, DType::i32},
                                   {"tokens", &tokens, {capacity}, DType::i32},
                                   {"logits", &last_logits, {config.vocabulary}, DType::f32}};
  if (rotary) lines.push_back(rotary_line(context, capacity));
  for (KeyValueCache& cache : caches) {
    lines.push_back({"keys", &cache.keys, cache_shape, dtype});
    lines.push_back({"values", &cache.values, cache_shape, dtype});
  }
  cache_arena = Arena("key-value cache", bytes_of(lines), context.ops.stream.device());
  allocate(lines, cache_arena);
  ops::iota(context.ops, positions, 0);
  for (KeyValueCache& cache : caches) cache.positions = positions;
  if (rotary) write_rotary_table(context);
}

void Generator::State::feed_piece(std::span<const int32_t> given) {
  const auto rows = static_cast<int64_t>(given.size());
  context.sizes = piece_sizes(config, capacity, length, rows);
  piece_arena.clear();
  allocate(piece_table(piece, config, context.sizes, dtype), piece_arena);
  context.work.branch = piece.branch;
  context.positions = positions.slice(0, length, length + rows);
  piece.batch.tokens = tokens.slice(0, length, length + rows);
  copy_bytes(piece.batch.tokens.data, given.data(), piece.batch.tokens.bytes(), context.ops.stream);
  context.batch = &piece.batch;

  embedding->forward(piece.embedded);
  Tensor stream = piece.embedded;
  for (size_t i = 0; i < blocks.size(); ++i) {
    BlockStash& stash = piece.blocks[i % 2];
    caches[i].length = length;
    blocks[i].first_norm(stash).normalize(context.ops, stream);
    blocks[i].forward(stash, stream, stash.output, {}, &caches[i]);
    stream = stash.output;
  }
  head->norm(piece.head).normalize(context.ops, stream.slice(0, rows - 1, rows));
  head->logits(piece.head.normalized, piece.logits);
  length += rows;
}

void Generator::State::copy_logits() {
  const Tensor row = piece.logits.view({config.padded_vocabulary()});
  ops::cast(context.ops, row.slice(0, 0, config.vocabulary), last_logits);
  copy_bytes(logits.data(), last_logits.data, last_logits.bytes(), context.ops.stream);
  context.ops.stream.synchronize();
}

Generator::Generator(const GptConfig& config, std::span<const Parameter> parameters,
                     int64_t context_length, ops::Context context) {
  check_generator(config, parameters, context_length, context);
  state_ = std::make_unique<State>(config, parameters, context_length, context);
}

Generator::~Generator() = default;

void Generator::reset() { state_->length = 0; }

int64_t Generator::length() const { return state_->length; }

int64_t Generator::context_length() const { return state_->capacity; }

std::span<const float> Generator::feed(std::span<const int32_t> tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  check(count >= 1, "generator", "no token was given; 1 or more are needed");
  check(length() + count <= context_length(), "generator",
        "{} tokens were given behind {}; the context has {}", count, length(), context_length());
  for (const int32_t token : tokens) {
    check(token >= 0 && token < state_->config.vocabulary, "generator",
          "token {} was given; the vocabulary has {} tokens", token, state_->config.vocabulary);
  }
  while (!tokens.empty()) {
    const size_t rows = std::min(tokens.size(), static_cast<size_t>(most_rows));
    state_->feed_piece(tokens.first(rows));
    tokens = tokens.subspan(rows);
  }
  state_->copy_logits();
  return state_->logits;
}

}  // namespace switchyard
