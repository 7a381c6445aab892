#include "launch/path/option_hints.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <sstream>
#include <utility>
#include <vector>

namespace switchyard {

namespace {

constexpr const char* always = "it is always so here: leave it out";
constexpr const char* samples = "schedules count steps here: divide by --global-batch-size";
constexpr const char* never = "that is not there yet";
constexpr const char* gpt = "only GPT models are trained here";
constexpr const char* branch =
    "make a branch: fork RUN@STEP NEW, then train NEW; of published weights 'switchyard convert "
    "--from HF_FOLDER --to RUN' makes a RUN first (docs/from-megatron.md)";
constexpr const char* kernels =
    "kernels are chosen by the device; on a GPU see --attention-backend: leave it out";
constexpr const char* ranks =
    "data parallel ranks are those that --tp and --pp leave: start tp x pp x dp ranks, such as "
    "mpirun -np N switchyard train ...";

// Megatron's options that are answered otherwise; of two that fit the first counts.
constexpr OptionAnswer of_megatron[] = {
    // Checkpoints
    {" save ",
     "the folder is named first: train RUN; for Hugging Face's programs 'switchyard convert --from "
     "RUN --to HF_FOLDER' writes its weights"},
    {" load ",
     "the folder is named first: train RUN; it is continued where it has a checkpoint; of "
     "published weights 'switchyard convert --from HF_FOLDER --to RUN' makes a RUN "
     "(docs/from-megatron.md)"},
    {" ckpt-step override-ckpt-iteration ", "give train --load-step N, other commands RUN@N"},
    {" finetune no-load-optim no-load-rng pretrained-checkpoint load-main-params-from-ckpt ",
     branch},
    {" no-save-optim no-save-rng ", "checkpoints are whole: leave it out"},
    {" save-retain-interval ", "give --keep-checkpoints N; fork points stay"},
    {" use-checkpoint-args use-mp-args-from-checkpoint-args exit-on-missing-checkpoint ",
     "a path keeps its options; only the layout is given at each start: leave it out"},
    {" async-save ", "it is always so here unless --no-async-save is given: leave it out"},
    {" use-dist-ckpt dist-ckpt-* ckpt-* no-ckpt-* auto-detect-ckpt-format "
     "non-persistent-* "
     "use-persistent-ckpt-worker ",
     "there is one format (docs/checkpoint-format.md): leave it out"},
    // Steps and rates
    {" train-samples lr-decay-samples lr-warmup-samples ", samples},
    {" lr-warmup-fraction warmup ", "give steps: --lr-warmup-iters N"},
    {" lr-warmup-init ", "a warm-up begins at 0: leave it out"},
    {" lr-wsd-decay-style lr-wsd-decay-iters lr-wsd-decay-samples ",
     "train a main path at its full rate and let a branch decay: fork RUN@STEP NEW "
     "--lr-decay-style 1-sqrt --lr-decay-iters N"},
    {" override-opt-param-scheduler override-opt_param-scheduler "
     "use-checkpoint-opt-param-scheduler use-checkpoint-opt_param-scheduler ",
     "another schedule is a branch: fork RUN@STEP NEW"},
    {" start-weight-decay end-weight-decay weight-decay-incr-style ",
     "it is constant here: give --weight-decay; another one is a branch: fork RUN@STEP NEW"},
    {" decoupled-lr decoupled-min-lr apply-wd-to-qk-layernorm ", never},
    {" optimizer ", "it is always AdamW here, Megatron's adam; others are not there yet"},
    {" sgd-momentum muon-* lion-* ", never},
    {" use-precision-aware-optimizer optimizer-cpu-offload "
     "optimizer-offload-fraction main-grads-dtype main-params-dtype exp-avg-* ",
     "it is always AdamW with fp32 state here: leave it out"},
    {" exit-signal-handler exit-signal ",
     "send USR1: it saves at the step's end and stops with code 75"},
    {" skip-train test-mode full-validation ", "score a path with eval RUN --data-path PREFIX"},
    {" iterations-to-skip rerun-mode error-injection-* result-rejected-tracker-filename ",
     "a step is never done twice or left out: leave it out"},
    // Batches
    {" batch-size ", "give --micro-batch-size and --global-batch-size"},
    {" rampup-batch-size decrease-batch-size-if-needed ", never},
    {" calculate-per-token-loss ", "the loss is the mean over all tokens: leave it out"},
    // Data
    {" num-workers dataloader-* data-cache-path create-attention-mask-in-dataloader "
     "no-create-attention-mask-in-dataloader mmap-bin-files no-mmap-bin-files "
     "num-dataset-builder-threads mid-level-dataset-surplus s3-cache-path object-storage-* ",
     "tokens are read from mapped files without workers or a cache: leave it out"},
    {" train-data-path data-args-path ", "give --data-path"},
    {" per-split-data-args-path multiple-validation-sets ",
     "give --data-path and --valid-data-path"},
    {" test-data-path ", "score it afterwards: eval RUN --data-path PREFIX"},
    {" mock-data ", "bench times steps on random tokens"},
    {" tokenizer-type tokenizer-model vocab-file merge-file tokenizer-* vocab-extra-ids tiktoken-* "
     "legacy-tokenizer ",
     "the token set says what made it. tokenize has bytes alone; sets that Megatron's "
     "preprocess_data.py made with another tokenizer are read as they are: give --data-path PREFIX "
     "and, for a new model, --vocab-size"},
    {" make-vocab-size-divisible-by ", "it is always 128 here, whatever tp is: leave it out"},
    {" padded-vocab-size ", "give --vocab-size; it is padded to a multiple of 128"},
    {" encoder-seq-length decoder-seq-length ", "give --seq-length"},
    {" reset-position-ids reset-attention-mask eod-mask-loss ",
     "attention and loss cross documents, as without this option in Megatron"},
    {" phase-transition-iterations ", "extend RUN --at-step N adds data at a step"},
    {" append-eod ", "tokenize appends it; --no-append-eod leaves it out"},
    {" workers partitions ", "one process tokenizes: leave it out"},
    // Model
    {" encoder-num-layers decoder-num-layers ", "give --num-layers"},
    {" group-query-attention ", "give --num-query-groups N alone"},
    {" use-rotary-position-embeddings ", "give --position-embedding-type rope"},
    {" no-position-embedding add-position-embedding ",
     "--position-embedding-type is learned_absolute or rope"},
    {" openai-gelu ", "it is the default, --activation gelu-tanh: leave it out"},
    {" squared-relu quick-geglu glu-linear-offset activation-func-clamp-value ",
     "--activation has gelu-tanh, gelu-erf and swiglu"},
    {" layernorm-epsilon ", "give --norm-epsilon"},
    {" add-bias-linear ", "all projections have biases unless --disable-bias-linear is given"},
    {" init-method-xavier-uniform embedding-init-method-std ",
     "initial weights are normal: give --init-method-std"},
    {" apply-layernorm-1p rotary-interleaved rope-type "
     "rotary-seq-len-interpolation-factor rotary-scaling-factor yarn-* qk-layernorm "
     "window-size window-attn-skip-freq softmax-type multi-latent-attention mtp-* "
     "sft rl-* grpo-* yaml-cfg standalone-embedding-stage "
     "apply-residual-connection-post-layernorm attention-output-gate ",
     never},
    {" num-experts expert-* moe-* ", "experts are not there yet"},
    {" inference-* ", "the command generate samples text, one prompt at a time"},
    {" hybrid-* mamba-* spec bert-* retro-* ict-* vision-* dino-* biencoder-* fim-* "
     "is-hybrid-model heterogeneous-layers-* ",
     gpt},
    // Precision
    {" attention-softmax-in-fp32 ", always},
    {" params-dtype ", "weights are fp32 unless --bf16 or --fp16 is given"},
    {" loss-scale ", "it is dynamic here: give --initial-loss-scale"},
    {" fp8-* fp4-* grad-reduce-in-bf16 fp16-lm-cross-entropy first-last-layers-bf16 "
     "te-precision-config-file ",
     never},
    {" fp32-residual-connection apply-query-key-layer-scaling ", never},
    {" disable-bf16-reduced-precision-matmul ", always},
    {" check-for-* no-check-for-nan-in-loss-and-grad ",
     "a loss or norm that is not finite always ends training, with code 3: leave it out"},
    {" deterministic-mode ", "it is the default; --no-deterministic leaves it"},
    // Kernels and memory
    {" transformer-impl use-mcore-models use-legacy-models te-rng-tracker use-te *-fusion "
     "cross-entropy-fusion-impl no-persist-layer-norm "
     "persist-layer-norm ",
     kernels},
    {" use-flash-attn ", always},
    {" enable-cuda-graph external-cuda-graph cuda-graph-* no-cuda-graph ",
     "give --cuda-graph alone"},
    {" tp-comm-* disable-tp-comm-* ", "give --tp-comm-overlap alone"},
    {" recompute-* checkpoint-activations distribute-saved-activations fine-grained-* "
     "cpu-offloading* ",
     never},
    {" use-cpu-initialization no-initialization perform-initialization empty-unused-memory-level "
     "manual-gc manual-gc-interval no-manual-gc-eval init-model-with-meta-device ",
     "memory is laid out once and weights begin on the device: leave it out"},
    {" data-parallel-random-init ", "initial weights follow --seed alone: leave it out"},
    // Ranks
    {" model-parallel-size ", "give --tensor-model-parallel-size"},
    {" decoder-first-pipeline-num-layers decoder-last-pipeline-num-layers "
     "pipeline-model-parallel-layout account-for-* ",
     "give the layers of each stage: --pipeline-layers 5,7"},
    {" world-size data-parallel-size ", ranks},
    {" context-parallel-size cp cp-comm-type hierarchical-context-parallel-sizes ",
     "more than 1 is not there yet"},
    {" num-layers-per-virtual-pipeline-stage virtual-pipeline-model-parallel-size "
     "num-virtual-stages-per-pipeline-rank microbatch-group-size-per-vp-stage ",
     never},
    {" use-distributed-optimizer sequence-parallel overlap-grad-reduce overlap-param-gather* "
     "accumulate-allreduce-grads-in-fp32 "
     "no-async-tensor-model-* async-tensor-model-* ",
     always},
    {" ddp-* align-grad-reduce align-param-gather no-align-* delay-* "
     "defer-embedding-wgrad-compute wgrad-deferral-limit overlap-p2p-* no-overlap-p2p-* "
     "batch-p2p-* scatter-gather-* no-scatter-gather-* use-ring-exchange-p2p ",
     "how gradients and activations travel is the program's: leave it out"},
    {" use-torch-fsdp2 use-megatron-fsdp data-parallel-sharding-strategy "
     "num-distributed-optimizer-instances ",
     "dp ranks share the optimizer's state, not the weights: leave it out"},
    {" distributed-backend local-rank nccl-* use-nccl-ub use-sharp sharp-enabled-group "
     "lazy-mpu-init enable-gloo-process-groups disable-gloo-process-groups high-priority-* "
     "use-tp-pp-dp-mapping ",
     "ranks talk over MPI on CPUs and over NCCL with --device cuda: leave it out"},
    {" rank master-addr master-port local-world-size ",
     "ranks are told their places by mpirun, srun, torchrun or launch: leave it out"},
    {" train-sync-interval ", "steps follow each other without a wait: leave it out"},
    {" distributed-timeout-seconds-after-init ", "give --distributed-timeout-seconds"},
    // Logs
    {" profile profile-* use-pytorch-profiler record-memory-history memory-snapshot-path ",
     "bench shows where a step's time goes"},
    {" tensorboard-dir ", "give train --tensorboard DIR"},
    {" log-straggler disable-straggler-on-startup straggler-* ",
     "give --log-stragglers N: every N steps a line names the ranks that the others wait for"},
    {" logging-level no-log-* log-* tensorboard-* wandb-* timing-log-* one-logger-* no-one-logger "
     "enable-one-logger "
     "barrier-with-l1-time otel-* adlr-* app-tag-* ",
     "RUN/metrics.jsonl has a JSON object for each step"},
};

// What users of torchtitan, nanoGPT, llm.c or transformers type.
constexpr OptionAnswer of_others[] = {
    {" dp ddp dp-size data-parallel data-parallel-degree data-parallel-shard-degree "
     "data-parallel-replicate-degree dp-degree dp-shard dp-replicate fsdp num-gpus gpus nproc "
     "nproc-per-node nnodes np ",
     ranks},
    {" steps max-steps num-steps max-iters iters iterations num-iterations epochs num-epochs "
     "num-train-epochs ",
     "give the step to stop at: train --train-iters N"},
    {" gradient-accumulation-steps grad-accum-steps total-batch-size ",
     "give --global-batch-size in samples; what --micro-batch-size and dp leave is accumulated"},
    {" learning-rate max-lr ", "give --lr"},
    {" warmup-steps warmup-iters ", "give --lr-warmup-iters"},
    {" block-size context-length max-seq-len sequence-length ", "give --seq-length"},
    {" resume resume-from-checkpoint init-from output-dir out-dir checkpoint-dir ",
     "the folder is named first: train RUN; it is continued where it has a checkpoint"},
    {" dtype precision ", "give --bf16 or --fp16; without them it is fp32"},
    {" dropout ", "give --hidden-dropout and --attention-dropout"},
    {" n-layer n-layers layers num-hidden-layers ", "give --num-layers"},
    {" n-head n-heads heads ", "give --num-attention-heads"},
    {" n-embd d-model dim ", "give --hidden-size"},
    {" num-kv-heads n-kv-heads num-key-value-heads ", "give --num-query-groups"},
    {" intermediate-size ", "give --ffn-hidden-size"},
    {" rope-theta ", "give --rotary-base"},
    {" bias ", "projections have biases; --disable-bias-linear leaves them out"},
    {" gelu ", "give --activation gelu-tanh, the default, or gelu-erf"},
    {" grad-clip max-grad-norm max-norm ", "give --clip-grad"},
    {" beta1 beta2 ", "give --adam-beta1 and --adam-beta2"},
    {" adam-epsilon eps ", "give --adam-eps"},
    {" lr-scheduler-type lr-scheduler ", "give --lr-decay-style and --lr-decay-iters"},
    {" warmup-ratio ", "give steps: --lr-warmup-iters N"},
    {" decay-lr ", "give --lr-decay-style and --lr-decay-iters"},
    {" batch device-batch-size per-device-train-batch-size local-batch-size ",
     "give --micro-batch-size"},
    {" dataset input-bin train-data ",
     "give --data-path, what tokenize or Megatron's script wrote"},
    {" val-data input-val-bin ", "give --valid-data-path"},
    {" eval-only ", "eval RUN --data-path PREFIX scores a path"},
    {" eval-steps eval-every eval-freq val-loss-every val-every ", "give --eval-interval"},
    {" save-steps save-every checkpoint-every checkpoint-interval ckpt-interval ",
     "give --save-interval"},
    {" save-total-limit keep-latest-k ", "give --keep-checkpoints"},
    {" logging-steps log-every log-freq ", "give --log-interval"},
    {" tp-size tensor-parallel tensor-parallel-size tensor-parallel-degree ", "give --tp"},
    {" pp-size pipeline-parallel pipeline-parallel-size pipeline-parallel-degree ", "give --pp"},
    {" zero-stage ", "the optimizer's state is always shared by dp ranks (ZeRO 1): leave it out"},
    {" gradient-checkpointing activation-checkpoint ", never},
    {" compile ", "kernels are compiled already: leave it out"},
    {" fp32 half ", "it is fp32 unless --bf16 or --fp16 is given"},
};

bool matches(const std::string& name, const std::string& pattern) {
  const size_t star = pattern.find('*');
  return star != std::string::npos && name.starts_with(pattern.substr(0, star)) &&
         name.ends_with(pattern.substr(star + 1));
}

struct Found {
  std::string pattern;  // the name itself, or what stands for it and others
  const char* here = nullptr;
};

// By name, or by the pattern of several.
Found answer_of(const std::string& name, std::span<const OptionAnswer> answers, bool by_pattern) {
  for (const auto& [names, here] : answers) {
    std::istringstream words(names);
    for (std::string word; words >> word;)
      if (by_pattern ? matches(name, word) : name == word) return {word, here};
  }
  return {};
}

// Levenshtein's: insertions, deletions and replacements.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(const std::string& word, std::span<const std::string> known) {
  std::string best;
  size_t least = (word.size() < 4 ? 1 : std::max<size_t>(2, word.size() / 3)) + 1;
  for (const auto& name : known) {
    const size_t away = distance(word, name);
    if (away < least) {
      least = away;
      best = name;
    }
  }
  if (!best.empty() || word.size() < 3) return best;
  const auto begun =
      std::ranges::find_if(known, [&](auto& name) { return name.starts_with(word); });
  return begun == known.end() ? "" : *begun;
}

std::vector<OptionAnswer> option_answers() {
  std::vector<OptionAnswer> all(std::begin(of_megatron), std::end(of_megatron));
  all.insert(all.end(), std::begin(of_others), std::end(of_others));
  return all;
}

namespace {

std::string plain(std::string name) {
  std::ranges::replace(name, '_', '-');
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name.substr(name.rfind('.') + 1);  // sections, as of torchtitan, are not known here
}

std::vector<std::string> names_of(std::span<const OptionSpec> specs) {
  std::vector<std::string> names{"config", "help", "version"};
  for (const auto& spec : specs) {
    names.push_back(long_name(spec));
    if (!short_name(spec).empty()) names.push_back(short_name(spec));
  }
  return names;
}

// Within two letters, of names that are not short.
bool is_mistyped(const std::string& name, const std::string& nearest) {
  return !nearest.empty() && name.size() > 4 && distance(name, nearest) <= 2;
}

// What stands for this option here; empty: nothing is known of it.
std::string meaning(const std::string& given, const std::string& name,
                    std::span<const std::string> known, const OptionOwners& owners) {
  if (const auto found = answer_of(name, of_megatron, false); found.here != nullptr)
    return fmt::format("--{} is an option of Megatron-LM; {}", given, found.here);
  if (const auto found = answer_of(name, of_others, false); found.here != nullptr)
    return fmt::format("--{} is unknown; {}", given, found.here);
  if (const std::string others = owners ? owners(name) : ""; !others.empty())
    return fmt::format("--{} {}", given, others);
  const std::string nearest = nearest_name(name, known);
  const auto found = answer_of(name, of_megatron, true);
  if (found.here != nullptr && !is_mistyped(name, nearest))
    return fmt::format("--{} is not known here; if it is an option of Megatron-LM (--{}): {}",
                       given, found.pattern, found.here);
  const bool negates =
      name.starts_with("no-") && std::ranges::find(known, name.substr(3)) != known.end();
  if (negates) return fmt::format("--{} is unknown; without --{} it is off", given, name.substr(3));
  return nearest.empty() ? "" : fmt::format("--{} is unknown; did you mean --{}?", given, nearest);
}

}  // namespace

std::string unknown_option(const std::string& given, std::span<const OptionSpec> specs,
                           const OptionOwners& owners) {
  if (given == "version" || given == "V")
    return "--version stands alone or behind the names of a command";
  const auto known = names_of(specs);
  const std::string name = plain(given);
  if (std::ranges::find(known, name) != known.end())
    return fmt::format("--{} is unknown; did you mean --{}?", given, name);
  const std::string text = meaning(given, name, known, owners);
  return text.empty() ? fmt::format("--{} is unknown; see --help for what is allowed", given)
                      : text;
}

}  // namespace switchyard
