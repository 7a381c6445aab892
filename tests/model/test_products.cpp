#include <gtest/gtest.h>

#include <map>
#include <string>

#include "model/gpt_stage.h"

namespace switchyard {
namespace {

GptStage::Options options_of(int64_t micro_batch, int64_t sequence) {
  GptStage::Options options;
  options.dtype = DType::bf16;
  options.micro_batch = micro_batch;
  options.sequence_length = sequence;
  return options;
}

double operations(const GptConfig& config, const Layout& layout, const GptStage::Options& options,
                  int64_t microbatches) {
  double sum = 0;
  for (int pp = 0; pp < layout.pp; ++pp) {
    for (int tp = 0; tp < layout.tp; ++tp) {
      for (const CountedProduct& p :
           GptStage::step_products(config, layout, {.tp = tp, .pp = pp}, options, microbatches)) {
        sum += p.operations();
      }
    }
  }
  return sum;
}

// 6 operations a weight and token: forward, input gradient and weight gradient.
double expected(const GptConfig& c, int64_t tokens) {
  const auto padding = static_cast<double>((c.padded_vocabulary() - c.vocabulary) * c.hidden);
  return 6 * (static_cast<double>(c.product_weights()) + padding) * static_cast<double>(tokens);
}

TEST(Products, AddUpToSixOperationsAWeightAndToken) {
  for (const char* name : {"gpt2-124m", "gpt3-1.3b", "llama-7b", "llama-1b", "pythia-1b"}) {
    const GptConfig config = preset(name);
    const auto options = options_of(4, 1024);
    for (const Layout& layout : {Layout{}, Layout{.tp = 2}, Layout{.tp = 4, .pp = 2}}) {
      EXPECT_DOUBLE_EQ(operations(config, layout, options, 3), expected(config, 3 * 4 * 1024))
          << name << ", " << layout.to_string();
    }
  }
}

// 32 query heads and 4 key/value heads on 8 ranks: one of these on each, held twice.
TEST(Products, RanksThatShareKeysComputeThemEach) {
  const GptConfig config = preset("llama-1b");
  for (const CountedProduct& p :
       GptStage::step_products(config, {.tp = 8}, {.tp = 5}, options_of(4, 1024), 1)) {
    if (p.name == "attention qkv forward") {
      EXPECT_EQ(p.product.n, (32 / 8 + 2) * 64);
    }
  }
  const int64_t weights = config.layers * config.hidden * 2 * 4 * 64;
  const double shared = 6.0 * 4 * 1024 * static_cast<double>(weights);
  EXPECT_DOUBLE_EQ(operations(config, {.tp = 8}, options_of(4, 1024), 1),
                   expected(config, 4 * 1024) + shared);
}

// Chunks of exchanges change how the rows are divided, not what is computed.
TEST(Products, ChunksOfExchangesCoverEachRowOnce) {
  const GptConfig config = preset("llama-1b");
  auto options = options_of(3, 1000);
  for (const int tp : {1, 2, 4}) {
    for (const int64_t chunks : {1, 2, 4, 7, 5000}) {
      options.exchange_chunks = chunks;
      EXPECT_DOUBLE_EQ(operations(config, {.tp = tp}, options, 2), expected(config, 2 * 3000))
          << tp << " ranks, " << chunks << " chunks";
    }
  }
}

// 750 own rows by 4: three chunks of 188 and one of 186, for each rank's part. Weight gradients
// and the output layer stay whole.
TEST(Products, BesideExchangesAreListedAsTheyRun) {
  auto options = options_of(3, 1000);
  options.exchange_chunks = 4;
  std::map<std::string, std::map<int64_t, int64_t>> times;  // by name and rows
  for (const CountedProduct& p :
       GptStage::step_products(preset("gpt2-124m"), {.tp = 4}, {}, options, 2)) {
    times[p.name][p.product.transpose_a ? p.product.k : p.product.m] += p.times;
  }
  const std::map<int64_t, int64_t> chunked{{188, 2 * 12 * 4 * 3}, {186, 2 * 12 * 4}};
  for (const char* name : {"attention qkv", "attention output", "MLP up", "MLP down"}) {
    for (const char* pass : {" forward", " input gradient"}) {
      EXPECT_EQ(times[std::string(name) + pass], chunked) << name << pass;
    }
    EXPECT_EQ(times[std::string(name) + " weight gradient"],
              (std::map<int64_t, int64_t>{{3000, 2 * 12}}));
  }
  EXPECT_EQ(times["output layer forward"], (std::map<int64_t, int64_t>{{3000, 2}}));
}

// Chunks of the output layer change how often it runs, not what is computed.
TEST(Products, ChunksOfTheHeadCoverEachRowOnce) {
  const GptConfig config = preset("gpt2-124m");
  auto options = options_of(3, 1000);
  for (const int64_t chunk : {0, 1, 999, 1000, 1024, 3000, 4096}) {
    options.head_chunk = chunk;
    EXPECT_DOUBLE_EQ(operations(config, {}, options, 2), expected(config, 2 * 3000)) << chunk;
  }
}

TEST(Products, OnlyTheFirstMicrobatchOverwritesWeightGradients) {
  const GptConfig config = preset("gpt2-124m");
  auto options = options_of(2, 512);
  options.head_chunk = 384;  // the last chunk of each microbatch is shorter
  int64_t overwrites = 0, gradients = 0;
  for (const CountedProduct& p : GptStage::step_products(config, {}, {}, options, 5)) {
    if (!p.product.transpose_a) {
      EXPECT_FALSE(p.product.accumulate || p.product.row_sums) << p.name;
      continue;
    }
    gradients += p.times;
    if (!p.product.accumulate) overwrites += p.times;
    EXPECT_EQ(p.product.output, DType::f32) << p.name;
  }
  EXPECT_EQ(overwrites, 4 * 12 + 1);
  EXPECT_EQ(gradients, 5 * (4 * 12 + 3));
}

TEST(Products, EpiloguesFollowTheModel) {
  using ops::MatmulProduct;
  const auto count = [](const char* name, bool MatmulProduct::*flag) {
    int64_t times = 0;
    for (const CountedProduct& p :
         GptStage::step_products(preset(name), {}, {}, options_of(1, 512), 1)) {
      if (p.product.*flag) times += p.times;
    }
    return times;
  };
  EXPECT_EQ(count("gpt2-124m", &MatmulProduct::bias), 2 * 12);
  EXPECT_EQ(count("gpt2-124m", &MatmulProduct::gelu_input), 12);
  EXPECT_EQ(count("gpt2-124m", &MatmulProduct::gelu_gradient), 12);
  EXPECT_EQ(count("gpt2-124m", &MatmulProduct::row_sums), 2 * 12);
  EXPECT_EQ(count("llama-7b", &MatmulProduct::bias) + count("llama-7b", &MatmulProduct::row_sums),
            0);
  EXPECT_EQ(count("pythia-1b", &MatmulProduct::gelu_input), 0);  // erf has no epilogue
}

}  // namespace
}  // namespace switchyard
