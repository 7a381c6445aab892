#include "tools/commands.h"

namespace switchyard {

namespace {

constexpr Subcommand table[] = {
    {"train", train_command, "start or continue a path: train RUN --data-path PREFIX ...",
     "switchyard train runs/main --preset gpt2-124m --data-path data/train --global-batch-size 512 "
     "--lr 6e-4 --bf16",
     true},
    {"fork", fork_command, "make a branch: fork MAIN@STEP NEW --lr-decay-style cosine ...",
     "switchyard fork runs/main@10000 runs/v1 --lr-decay-style 1-sqrt --lr-decay-iters 2000"},
    {"extend", extend_command, "add data to a path: extend RUN --at-step N --data-path PREFIX",
     "switchyard extend runs/main --at-step 20000 --data-path data/june"},
    {"campaign", campaign_command, "carry out a file of versions: campaign plan|run|status FILE",
     "switchyard campaign run runs/four.toml"},
    {"launch", launch_command,
     "start ranks on GPUs or cores, on one node or many: launch -np N -- train ...",
     "switchyard launch -np 8 -- train runs/main"},
    {"slurm", slurm_command, "write and submit a batch job: slurm RUN --nodes N -- train ...",
     "switchyard slurm runs/main --nodes 4 --tasks-per-node 8 --gpus-per-node 8 --time 1-00:00:00 "
     "--submit -- train"},
    {"tokenize", tokenize_command, "text to tokens: tokenize --input FILE... --output-prefix P",
     "switchyard tokenize --input books.txt --output-prefix data/books"},
    {"eval", eval_command, "score held-out text: eval RUN[@STEP] --data-path PREFIX",
     "switchyard eval runs/v1 --data-path data/held-out --json", true},
    {"generate", generate_command, "continue a prompt: generate RUN[@STEP] --prompt TEXT",
     "switchyard generate runs/v1 --prompt 'Once upon a time' --temperature 0.8"},
    {"inspect", inspect_command, "what a path or a saved step of it is: inspect RUN[@STEP]",
     "switchyard inspect runs/main@10000 --verify"},
    {"verify", verify_command,
     "read saved steps whole and compare all checksums: verify RUN[@STEP]",
     "switchyard verify runs/main"},
    {"list", list_command, "the paths below a folder as a tree: list FOLDER",
     "switchyard list runs"},
    {"report", report_command, "a page that shows paths: report RUN... --output report.html",
     "switchyard report runs --output report.html"},
    {"average", average_command, "mean of weights: average RUN --steps A:B:EVERY --output NEW",
     "switchyard average runs/main --steps 8000:10000:500 --output runs/mean"},
    {"prune", prune_command, "what of the saved steps may go, and with --yes goes: prune RUN",
     "switchyard prune runs/main --keep-checkpoints 3 --keep-every 1000 --keep-moments 1"},
    {"reshard", reshard_command,
     "a saved step in other files, as a run that needs no other: reshard RUN@STEP NEW",
     "switchyard reshard runs/main@10000 runs/carried --writers 2"},
    {"compare", compare_command, "where two runs, or two saved steps, differ: compare A B",
     "switchyard compare runs/main@10000 runs/again@10000 --weights model"},
    {"convert", convert_command, "published models in and out: convert --from A --to B",
     "switchyard convert --from models/pythia-160m --to runs/pythia"},
    {"replay", replay_command, "make recorded steps again and compare: replay RUN@A:B",
     "switchyard replay runs/main@9000:9100", true},
    {"bench", bench_command, "time training steps: bench --preset gpt2-124m",
     "switchyard bench --preset gpt2-124m --bf16 --micro-batch-size 16", true},
    {"plan", plan_command, "check a configuration without ranks: plan --preset gpt2-124m ...",
     "switchyard plan --preset llama-7b --bf16 --tp 8 --world-size 64 --gpu h100"},
    {"rates", rates_command, "what a device gives: copy and matrix rates, versions",
     "switchyard rates --device cpu", true},
    {"byte-model", byte_model_command, "an order-2 byte model's bits per byte, as a baseline",
     "switchyard byte-model --train data/train --eval data/held-out"},
};

}  // namespace

std::span<const Subcommand> subcommands() { return table; }

}  // namespace switchyard
