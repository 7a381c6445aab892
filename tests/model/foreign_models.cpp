#include "tests/model/foreign_models.h"

namespace switchyard::test {

namespace {

struct Draw {
  std::mt19937& random;
  bool coin() { return random() % 2 == 0; }
  template <class T>
  T of(std::initializer_list<T> values) {
    return values.begin()[random() % values.size()];
  }
};

void draw_rope(GptConfig& c, Draw draw) {
  c.rotary_base = draw.of({10000.0, 500000.0, 1234.5});
  c.rope_scaling = draw.coin();
  if (!c.rope_scaling) return;
  c.rope_factor = draw.of({8.0, 32.0, 1.5});
  c.rope_low_frequency = draw.of({1.0, 0.5});
  c.rope_high_frequency = draw.of({4.0, 7.25});
  c.rope_original_positions = draw.of({int64_t{16}, int64_t{8192}});
}

void draw_biases(GptConfig& c, Architecture architecture, Draw draw) {
  if (architecture == Architecture::gpt2) return;
  c.linear_bias = false;
  if (architecture == Architecture::qwen2) c.qkv_bias = true;
  if (architecture == Architecture::mistral || architecture == Architecture::qwen2) return;
  c.qkv_bias = c.attention_output_bias = draw.coin();
  c.mlp_bias = architecture == Architecture::gpt_neox || draw.coin();
  if (c.qkv_bias && c.mlp_bias) {
    c.linear_bias = true;
    c.qkv_bias = c.attention_output_bias = c.mlp_bias = false;
  }
}

void make_gpt(GptConfig& c, Architecture architecture, Draw draw) {
  c.head_dim = c.heads == 1 ? 80 : draw.of<int64_t>({8, 10});
  c.hidden = c.heads * c.head_dim;
  c.query_groups = c.heads;
  c.activation = draw.of({ops::Activation::gelu_tanh, ops::Activation::gelu_erf});
  c.hidden_dropout = draw.of({0.0, 0.1});
  if (architecture == Architecture::gpt2) return;
  c.positions = Positions::rotary;
  c.parallel_residual = draw.coin();
  c.rotary_percent = c.head_dim == 10 ? 0.6 : draw.of({0.25, 0.5, 1.0});
  draw_rope(c, draw);
}

void make_llama(GptConfig& c, Architecture architecture, Draw draw) {
  c.positions = Positions::rotary;
  c.norm = ops::Norm::rms;
  c.norm_bias = false;
  c.activation = ops::Activation::swiglu;
  if (c.heads == 6) c.query_groups = draw.of<int64_t>({2, 3, 1, 6});
  c.head_dim = draw.of<int64_t>({8, 10, 16});
  c.hidden = draw.coin() ? c.heads * c.head_dim : c.heads * 12;
  if (architecture != Architecture::llama && draw.coin()) c.hidden = 44;
  draw_rope(c, draw);
}

}  // namespace

GptConfig random_model(Architecture architecture, std::mt19937& random) {
  Draw draw{random};
  GptConfig c;
  c.layers = draw.of<int64_t>({1, 2});
  c.heads = draw.of<int64_t>({1, 6, 7});
  c.query_groups = c.heads;
  c.vocabulary = draw.of<int64_t>({101, 260, 384});
  c.max_positions = draw.of<int64_t>({33, 64});
  c.tied_output = draw.coin();
  c.norm_epsilon = draw.of({1e-5, 1e-6, 3e-4});
  c.attention_dropout = draw.of({0.0, 0.125});
  c.init_deviation = draw.of({0.02, 0.0123});
  if (architecture == Architecture::gpt2 || architecture == Architecture::gpt_neox) {
    make_gpt(c, architecture, draw);
  } else {
    make_llama(c, architecture, draw);
  }
  draw_biases(c, architecture, draw);
  c.ffn_hidden = draw.of({int64_t{344}, 4 * c.hidden, int64_t{17}});
  return c;
}

}  // namespace switchyard::test
