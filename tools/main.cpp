#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/stop_signal.h"
#include "launch/option_hints.h"
#include "launch/world.h"
#include "tools/command_support.h"
#include "tools/commands.h"
#include "tools/documentation.h"

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
    {"inspect", inspect_command, "what a path or a saved step of it is: inspect RUN[@STEP]"},
    {"list", list_command, "the paths below a folder as a tree: list FOLDER"},
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

// launch has a parser of its own, for what stands before its --.
UsageAndOptions described(int (*command)(Arguments)) {
  if (command != launch_command) return form_of(command);
  return {"launch -np N [--ranks-per-gpu K] -- SUBCOMMAND ARGUMENTS...",
          {{"ranks-per-gpu", OptionKind::integer, OptionGroup::run, "1",
            "ranks that share each GPU: slow, to test layouts"},
           {"help", OptionKind::flag, OptionGroup::run, "", "list the options"}}};
}

// For installations, at build time: man page and shell completions.
int print_documentation(const std::vector<std::string>& words) {
  std::vector<CommandForm> forms;
  for (const auto& s : subcommands) {
    UsageAndOptions form = described(s.run);
    forms.push_back({s.name, s.help, std::move(form.usage), std::move(form.options)});
  }
  const std::string kind = words.size() == 2 ? words[1] : "";
  check(kind == "man" || kind == "bash" || kind == "zsh", "documentation",
        "'{}'; man, bash or zsh is allowed", kind);
  const std::string text = kind == "man"    ? man_page(forms)
                           : kind == "bash" ? bash_completion(forms)
                                            : zsh_completion(forms);
  std::fputs(text.c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
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
  if (words[0] == "documentation") return print_documentation(words);
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
