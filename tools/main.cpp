#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/stop_signal.h"
#include "launch/option_hints.h"
#include "launch/world.h"
#include "tools/commands.h"

namespace switchyard {

namespace {

struct Subcommand {
  const char* name;
  int (*run)(Arguments);
  const char* help;
};

constexpr Subcommand subcommands[] = {
    {"train", train_command, "start or continue a path: train RUN --data-path PREFIX ..."},
    {"fork", fork_command, "make a branch: fork MAIN@STEP NEW --lr-decay-style cosine ..."},
    {"extend", extend_command, "add data to a path: extend RUN --at-step N --data-path PREFIX"},
    {"launch", launch_command, "start ranks on this machine's GPUs: launch -np N -- train ..."},
    {"tokenize", tokenize_command, "text to tokens: tokenize --input FILE... --output-prefix P"},
    {"eval", eval_command, "score held-out text: eval RUN[@STEP] --data-path PREFIX"},
    {"generate", generate_command, "continue a prompt: generate RUN[@STEP] --prompt TEXT"},
    {"inspect", inspect_command, "what a checkpoint is: inspect RUN[@STEP]"},
    {"average", average_command, "mean of weights: average RUN --steps A:B:EVERY --output NEW"},
    {"bench", bench_command, "time training steps: bench --preset gpt2-124m"},
    {"plan", plan_command, "check a configuration without ranks: plan --preset gpt2-124m ..."},
    {"rates", rates_command, "what a device gives: copy and matrix rates, versions"},
    {"byte-model", byte_model_command, "an order-2 byte model's bits per byte, as a baseline"},
};

void print_usage(std::FILE* to) {
  std::fprintf(to, "switchyard: trains GPT models along paths\n\n");
  for (const auto& s : subcommands) std::fprintf(to, "  %-11s %s\n", s.name, s.help);
  std::fprintf(to,
               "\nswitchyard SUBCOMMAND --help lists its options; --version says the version.\n");
}

bool asks_for_version(const std::string& word) { return word == "--version" || word == "-V"; }

int dispatch(const std::vector<std::string>& words) {
  if (words.empty()) {
    print_usage(stderr);
    return static_cast<int>(ExitCode::usage);
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_usage(stdout);
    return 0;
  }
  if (asks_for_version(words[0]) || (words.size() > 1 && asks_for_version(words[1]))) {
    std::printf("switchyard %s\n", SWITCHYARD_VERSION);
    return 0;
  }
  for (const auto& s : subcommands) {
    if (words[0] != s.name) continue;
    if (s.run != train_command) take_held_back_signals();
    return s.run(Arguments(words).subspan(1));
  }
  std::vector<std::string> names;
  for (const auto& s : subcommands) names.emplace_back(s.name);
  const std::string nearest = nearest_name(words[0], names);
  fail("switchyard", "'{}' is not a subcommand; {}", words[0],
       nearest.empty() ? "see switchyard --help" : fmt::format("did you mean '{}'?", nearest));
}

}  // namespace

}  // namespace switchyard

int main(int argc, char** argv) {
  try {
    switchyard::share_cores_among_local_ranks();
    return switchyard::dispatch({argv + 1, argv + argc});
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "switchyard: %s\n", problem.what());
    return static_cast<int>(switchyard::code_of(problem));
  }
}
