#include "model/exchange/config_keys.h"

namespace switchyard {

namespace {

ConfigKeys tokens_and_generation() {
  return keys_that_say_nothing(
      {// tokens
       "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id",
       "forced_bos_token_id", "forced_eos_token_id", "tokenizer_class", "prefix",
       // generation, in files of transformers 4
       "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
       "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
       "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
       "num_return_sequences", "remove_invalid_values", "exponential_decay_length_penalty",
       "suppress_tokens", "begin_suppress_tokens", "task_specific_params"});
}

ConfigKeys outputs_and_classes() {
  return keys_that_say_nothing(
      {// what is returned
       "use_cache", "return_dict", "return_dict_in_generate", "output_hidden_states",
       "output_attentions", "output_scores", "tie_last_hidden_states", "torchscript",
       // heads of other classes
       "finetuning_task", "problem_type", "id2label", "label2id", "num_labels", "_num_labels",
       "custom_pipelines", "classifier_dropout",
       // how it is computed, not what
       "chunk_size_feed_forward", "gradient_checkpointing", "tf_legacy_loss", "use_bfloat16",
       "is_decoder", "tie_encoder_decoder"});
}

}  // namespace

ConfigKeys common_keys() {
  ConfigKeys keys = tokens_and_generation();
  append(keys, outputs_and_classes());
  for (const char* name :
       {"_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype",
        "_commit_hash", "_attn_implementation", "attn_implementation", "_experts_implementation",
        "_attn_implementation_autoset", "_attn_implementation_internal", "_flash_attn_2_enabled",
        "_output_attentions"}) {
    keys.push_back({name, ConfigKey::Says::origin, {}, {}});
  }
  append(keys,
         {fixed_key("is_encoder_decoder", {false}), fixed_key("add_cross_attention", {false}),
          fixed_key("cross_attention_hidden_size", {}), fixed_key("pruned_heads", {Json::object()}),
          fixed_key("quantization_config", {}), fixed_key("compression_config", {}),
          fixed_key("auto_map", {}), fixed_key("per_layer_config", {Json::object()})});
  return keys;
}

}  // namespace switchyard
