#include "model/exchange/config_keys.h"

namespace switchyard {

ArchitectureKeys gpt_neox_keys() {
  using C = GptConfig;
  ArchitectureKeys all;
  all.start.positions = Positions::rotary;
  all.start.norm = ops::Norm::layer;
  all.start.linear_bias = false;
  all.start.mlp_bias = true;
  all.class_name = "GPTNeoXForCausalLM";
  all.accepts = {"GPTNeoXModel"};
  all.keys = {vocabulary_key(),
              size_key<&C::hidden>("hidden_size"),
              size_key<&C::layers>("num_hidden_layers"),
              size_key<&C::heads>("num_attention_heads"),
              size_key<&C::ffn_hidden>("intermediate_size"),
              positions_key("max_position_embeddings"),
              gelu_key("hidden_act", "gelu"),
              positive_key<&C::norm_epsilon>("layer_norm_eps", 1e-5),
              probability_key<&C::hidden_dropout>("hidden_dropout", 0),
              probability_key<&C::attention_dropout>("attention_dropout", 0),
              positive_key<&C::init_deviation>("initializer_range", 0.02),
              flag_key<&C::tied_output>("tie_word_embeddings", false),
              flag_key<&C::parallel_residual>("use_parallel_residual", true),
              attention_bias_key(true),
              fixed_key("hidden_dropout_prob", {0}),
              fixed_key("attention_probs_dropout_prob", {0})};
  append(all.keys, rope_keys("rotary_emb_base", "rotary_pct", 0.25));
  return all;
}

}  // namespace switchyard
