#include "launch/option_hints.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace switchyard {

namespace {

struct Answer {
  const char* names;  // with spaces around each; one that ends in * stands for all that begin so
  const char* here;
};

constexpr const char* always = "it is always so here: leave it out";
constexpr const char* samples = "schedules count steps here: divide by --global-batch-size";
constexpr const char* never = "that is not there yet";

// Megatron's options that are answered otherwise.
constexpr Answer answers[] = {
    {" save load ",
     "the folder is named first: train RUN; it is continued where it has a checkpoint"},
    {" ckpt-step ", "give --load-step N"},
    {" finetune no-load-optim no-load-rng ", "make a branch: fork RUN@STEP NEW, then train NEW"},
    {" no-save-optim no-save-rng ", "checkpoints are whole: leave it out"},
    {" pretrained-checkpoint ", "make a branch: fork RUN@STEP NEW, then train NEW"},
    {" train-samples lr-decay-samples lr-warmup-samples ", samples},
    {" lr-warmup-fraction ", "give steps: --lr-warmup-iters N"},
    {" lr-warmup-init ", "a warm-up begins at 0: leave it out"},
    {" lr-wsd-decay-style lr-wsd-decay-iters lr-wsd-decay-samples ",
     "train a main path at its full rate and let a branch decay: fork RUN@STEP NEW "
     "--lr-decay-style "
     "1-sqrt --lr-decay-iters N"},
    {" override-opt-param-scheduler override-opt_param-scheduler "
     "use-checkpoint-opt_param-scheduler ",
     "another schedule is a branch: fork RUN@STEP NEW"},
    {" exit-interval ", "give the step to stop at: --train-iters N"},
    {" exit-duration-in-mins exit-signal-handler exit-signal ",
     "send USR1: it saves at the step's end and stops with code 75"},
    {" num-workers dataloader-type data-cache-path no-create-attention-mask-in-dataloader ",
     "tokens are read from mapped files without workers or a cache: leave it out"},
    {" train-data-path ", "give --data-path"},
    {" test-data-path ", "score it afterwards: eval RUN --data-path PREFIX"},
    {" mock-data ", "bench times steps on random tokens"},
    {" tokenizer-type tokenizer-model vocab-file merge-file tokenizer-name-or-path ",
     "the token set says what made it; for one of Megatron's give --vocab-size"},
    {" make-vocab-size-divisible-by ", "it is always 128 here, whatever tp is: leave it out"},
    {" padded-vocab-size ", "give --vocab-size; it is padded to a multiple of 128"},
    {" openai-gelu ", "it is the default, --activation gelu-tanh: leave it out"},
    {" squared-relu quick-geglu ", "--activation has gelu-tanh, gelu-erf and swiglu"},
    {" layernorm-epsilon ", "give --norm-epsilon"},
    {" apply-layernorm-1p rotary-interleaved use-rope-scaling qk-layernorm ", never},
    {" use-rotary-position-embeddings ", "give --position-embedding-type rope"},
    {" no-position-embedding ", "--position-embedding-type is learned_absolute or rope"},
    {" group-query-attention ", "give --num-query-groups N alone"},
    {" use-distributed-optimizer sequence-parallel overlap-grad-reduce overlap-param-gather "
     "accumulate-allreduce-grads-in-fp32 use-mcore-models use-flash-attn no-async-tensor-model-* ",
     always},
    {" tp-comm-overlap-* ", "give --tp-comm-overlap alone"},
    {" transformer-impl use-te no-masked-softmax-fusion no-bias-*-fusion no-*-fusion ",
     "kernels are chosen by the device; on a GPU see --attention-backend: leave it out"},
    {" distributed-backend local-rank local_rank ",
     "ranks talk over MPI on CPUs and over NCCL with --device cuda: leave it out"},
    {" world-size data-parallel-size ", "dp is what is left of the ranks: mpirun -np N ..."},
    {" recompute-* checkpoint-activations ", never},
    {" context-parallel-size cp ", never},
    {" num-layers-per-virtual-pipeline-stage virtual-pipeline-model-parallel-size "
     "num-virtual-stages-per-pipeline-rank ",
     never},
    {" rampup-batch-size ", never},
    {" num-experts expert-model-parallel-size moe-* ", never},
    {" fp8-format fp8-* ", never},
    {" optimizer ", "it is always AdamW here: leave it out"},
    {" log-* tensorboard-* wandb-* timing-log-level ",
     "RUN/metrics.jsonl has a JSON object for each step"},
    {" async-save ckpt-format use-dist-ckpt dist-ckpt-format ",
     "there is one format (docs/checkpoint-format.md): leave it out"},
    {" append-eod ", "tokenize appends it; --no-append-eod leaves it out"},
    {" workers partitions ", "one process tokenizes: leave it out"},
    {" reset-position-ids reset-attention-mask eod-mask-loss ",
     "attention and loss cross documents, as without this option in Megatron"},
};

bool matches(const std::string& name, const std::string& pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string::npos) return name == pattern;
  return name.starts_with(pattern.substr(0, star)) && name.ends_with(pattern.substr(star + 1));
}

const char* answer_of(const std::string& name) {
  for (const auto& [names, here] : answers) {
    const std::string all = names;
    for (size_t begin = 1; begin < all.size(); begin = all.find(' ', begin) + 1)
      if (matches(name, all.substr(begin, all.find(' ', begin) - begin))) return here;
  }
  return nullptr;
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

std::string unknown_option(const std::string& name, std::span<const OptionSpec> specs) {
  std::vector<std::string> known{"config", "help", "version"};
  for (const auto& spec : specs) {
    const size_t comma = spec.name.find(',');
    known.push_back(spec.name.substr(0, comma));
    if (comma != std::string::npos) known.push_back(spec.name.substr(comma + 1));
  }
  if (const char* here = answer_of(name))
    return fmt::format("--{} is an option of Megatron-LM; {}", name, here);
  const std::string nearest = nearest_name(name, known);
  if (nearest.empty()) return fmt::format("--{} is unknown; see --help for what is allowed", name);
  return fmt::format("--{} is unknown; did you mean --{}?", name, nearest);
}

}  // namespace switchyard
