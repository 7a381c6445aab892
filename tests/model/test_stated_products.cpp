#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/model/model_run.h"

// What layers state of their matrix products is what a training step runs.
namespace switchyard::test {
namespace {

ModelRun run_of(const GptConfig& config, const Layout& layout = {}) {
  ModelRun run;
  run.config = config;
  run.layout = layout;
  run.microbatches = 3;
  run.expect_stated_products = true;
  return run;
}

GptConfig without_biases(GptConfig config) {
  config.linear_bias = config.norm_bias = false;
  return config;
}

// tanh's gelu, fused; tied. SwiGLU, fewer key/value heads, no biases; untied. erf's gelu, parallel
// residual. Of 4 heads and 2 key/value heads, tp 4 holds each of the latter twice.
TEST(StatedProducts, AreRunInEveryFamilyAndLayout) {
  for (const GptConfig& config :
       {tiny_gpt2(0.1), without_biases(tiny_gpt2(0)), tiny_llama(0), tiny_neox(0), tiny_qwen2(0),
        tiny_llama3(0), tiny_biased_mlp(0)}) {
    for (const Layout& layout : {Layout{}, Layout{.tp = 2}, Layout{.tp = 4}, Layout{.pp = 2},
                                 Layout{.dp = 2}, Layout{.tp = 2, .pp = 3}}) {
      SCOPED_TRACE(layout.to_string());
      run_model(run_of(config, layout));
    }
  }
}

// 8 own rows: 4, 4; 3, 3, 2; single rows.
TEST(StatedProducts, AreRunBesideExchangesInChunks) {
  for (const int64_t chunks : {2, 3, 100}) {
    ModelRun run = run_of(tiny_gpt2(0), {.tp = 2});
    run.exchange_chunks = chunks;
    run_model(run);
    run = run_of(tiny_llama(0), {.tp = 2, .pp = 2});
    run.exchange_chunks = chunks;
    run.dtype = DType::bf16;
    run_model(run);
  }
}

// 16 rows: with a rest, without one, and a chunk that is larger.
TEST(StatedProducts, AreRunByChunksOfTheHead) {
  for (const int64_t chunk : {5, 8, 1000}) {
    for (const Layout& layout : {Layout{}, Layout{.tp = 2, .pp = 2}}) {
      ModelRun run = run_of(tiny_gpt2(0), layout);
      run.head_chunk = chunk;
      run_model(run);
    }
  }
}

TEST(StatedProducts, AreRunInBf16AndWithOneMicrobatch) {
  for (const GptConfig& config : {tiny_gpt2(0), tiny_llama(0), tiny_neox(0)}) {
    ModelRun run = run_of(config);
    run.dtype = DType::bf16;
    run.microbatches = 1;
    run_model(run);
  }
}

}  // namespace
}  // namespace switchyard::test
