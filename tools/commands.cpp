#include "tools/commands.h"

namespace switchyard {

namespace {

constexpr Subcommand table[] = {
    {"train", train_command, "start or continue a path: train RUN --data-path PREFIX ...", true},
    {"fork", fork_command, "make a branch: fork MAIN@STEP NEW --lr-decay-style cosine ..."},
    {"extend", extend_command, "add data to a path: extend RUN --at-step N --data-path PREFIX"},
    {"launch", launch_command, "start ranks on this machine's GPUs: launch -np N -- train ..."},
    {"tokenize", tokenize_command, "text to tokens: tokenize --input FILE... --output-prefix P"},
    {"eval", eval_command, "score held-out text: eval RUN[@STEP] --data-path PREFIX", true},
    {"generate", generate_command, "continue a prompt: generate RUN[@STEP] --prompt TEXT"},
    {"inspect", inspect_command, "what a path or a saved step of it is: inspect RUN[@STEP]"},
    {"list", list_command, "the paths below a folder as a tree: list FOLDER"},
    {"average", average_command, "mean of weights: average RUN --steps A:B:EVERY --output NEW"},
    {"bench", bench_command, "time training steps: bench --preset gpt2-124m", true},
    {"plan", plan_command, "check a configuration without ranks: plan --preset gpt2-124m ..."},
    {"rates", rates_command, "what a device gives: copy and matrix rates, versions", true},
    {"byte-model", byte_model_command, "an order-2 byte model's bits per byte, as a baseline"},
};

}  // namespace

std::span<const Subcommand> subcommands() { return table; }

}  // namespace switchyard
