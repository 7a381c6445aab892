#include "model/exchange/config_keys.h"

#include "core/error.h"

namespace switchyard {

namespace {

using Says = ConfigKey::Says;
using C = GptConfig;

ConfigKey inner_key() {
  return {"n_inner", Says::computation,
          [](const ConfigReader& r, GptConfig& c) {
            const int64_t absent = 4 * c.hidden;
            c.ffn_hidden =
                r.is_null("n_inner") ? absent : r.whole("n_inner", 1, largest_model_size, absent);
          },
          [](const GptConfig& c) { return Json(c.ffn_hidden); }};
}

// Of the embedding; ours is one with that of the residual branches, whose row comes before.
ConfigKey embedding_dropout_key() {
  return {"embd_pdrop", Says::computation,
          [](const ConfigReader& r, GptConfig& c) {
            if (r.real("embd_pdrop", 0.1) != c.hidden_dropout) {
              r.refuse("embd_pdrop",
                       fmt::format("that of resid_pdrop, {}, is allowed", c.hidden_dropout));
            }
          },
          [](const GptConfig& c) { return Json(c.hidden_dropout); }};
}

// In older files, beside n_positions.
ConfigKey context_key() {
  return {"n_ctx",
          Says::computation,
          [](const ConfigReader& r, GptConfig& c) {
            const int64_t given = r.whole("n_ctx", 1, INT32_MAX, c.max_positions);
            if (given != c.max_positions) {
              r.refuse("n_ctx", fmt::format("n_positions, {}, is allowed", c.max_positions));
            }
          },
          {}};
}

}  // namespace

ArchitectureKeys gpt2_keys() {
  ArchitectureKeys all;
  all.start.positions = Positions::learned;
  all.start.norm = ops::Norm::layer;
  all.class_name = "GPT2LMHeadModel";
  all.accepts = {"GPT2Model"};
  all.keys = {vocabulary_key(),
              size_key<&C::hidden>("n_embd"),
              size_key<&C::layers>("n_layer"),
              size_key<&C::heads>("n_head"),
              positions_key("n_positions"),
              context_key(),
              inner_key(),
              gelu_key("activation_function", "gelu_new"),
              positive_key<&C::norm_epsilon>("layer_norm_epsilon", 1e-5),
              probability_key<&C::hidden_dropout>("resid_pdrop", 0.1),
              embedding_dropout_key(),
              probability_key<&C::attention_dropout>("attn_pdrop", 0.1),
              positive_key<&C::init_deviation>("initializer_range", 0.02),
              flag_key<&C::tied_output>("tie_word_embeddings", true),
              fixed_key("scale_attn_weights", {true}),
              fixed_key("scale_attn_by_inverse_layer_idx", {false})};
  append(all.keys,
         keys_that_say_nothing({"reorder_and_upcast_attn",  // the same sums, in fp32
                                "summary_type", "summary_use_proj", "summary_activation",
                                "summary_proj_to_labels", "summary_first_dropout", "n_special",
                                "predict_special_tokens", "output_past"}));
  return all;
}

}  // namespace switchyard
