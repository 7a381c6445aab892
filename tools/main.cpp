#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/error_words.h"
#include "core/printable.h"
#include "core/stop_signal.h"
#include "launch/engine/core_share.h"
#include "launch/path/option_hints.h"
#include "parallel/comm/rendezvous/job_environment.h"
#include "parallel/comm/rendezvous/job_identity.h"
#include "tools/command_support.h"
#include "tools/commands.h"
#include "tools/documentation.h"
#include "tools/version.h"

namespace switchyard {

using namespace std::chrono_literals;

namespace {

// No subcommand of users, so it is in no table: it prints those.
constexpr const char* documentation_usage =
    "switchyard documentation man|bash|zsh|options\n\n"
    "prints the man page, the completions for bash or zsh, or docs/options.md, of this program's\n"
    "own tables of options.";

void print_usage(std::FILE* to) {
  std::fprintf(to, "switchyard: trains GPT models along paths\n\n");
  for (const auto& s : subcommands()) std::fprintf(to, "  %-11s %s\n", s.name, s.help);
  std::fprintf(
      to,
      "\nswitchyard SUBCOMMAND --help lists its options; --version says the version;\n"
      "documentation man|bash|zsh|options prints the man page, completions, all options.\n");
}

// At build time: man page and shell completions for installations; docs/options.md.
int print_documentation(const std::vector<std::string>& words) {
  std::vector<CommandForm> forms;
  for (const auto& s : subcommands()) {
    UsageAndOptions form = form_of(s.run);
    forms.push_back({s.name, s.help, std::move(form.usage), s.example, std::move(form.options)});
  }
  std::fputs(documentation(words.size() == 2 ? words[1] : "", forms).c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

// A first word that is neither a subcommand nor one of the program's own options.
[[noreturn]] void refuse(const std::string& word) {
  const std::string name = word.substr(word.starts_with("--") ? 2 : 0, word.find('='));
  const bool dashed = word.starts_with('-');
  if (dashed && !owners_of("", name).empty())
    fail("switchyard",
         "'{}' is an option of subcommands; it stands behind one: switchyard "
         "SUBCOMMAND {} ...",
         word, word);
  std::vector<std::string> names{"--help", "--version"};
  if (!dashed) names = {"help"};
  for (const auto& s : subcommands()) names.push_back((dashed ? "--" : "") + std::string(s.name));
  std::string nearest = nearest_name(word, names);
  if (nearest.starts_with("--") && nearest != "--help" && nearest != "--version")
    nearest.erase(0, 2);
  fail("switchyard", "'{}' is not {}; {}", word,
       dashed ? "an option of the program" : "a subcommand",
       nearest.empty() ? "see switchyard --help" : fmt::format("did you mean '{}'?", nearest));
}

// What launch is to start, before ranks are there that would each say so.
void check_launched(const std::vector<std::string>& words) {
  const auto dashes = std::ranges::find(words, "--");
  if (dashes == words.end() || dashes + 1 == words.end()) return;
  const std::string& word = *(dashes + 1);
  const auto all = subcommands();
  const auto found = std::ranges::find(all, word, &Subcommand::name);
  check(found != all.end(), "launch",
        "'{}' stands behind --, but is not a subcommand; such as switchyard launch -np 2 -- train "
        "RUN ...",
        word);
  check(found->takes_ranks, "launch", "'{}' is the work of one process; start it without launch",
        word);
}

// A result that nobody can read is none.
void check_output_is_written() {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (!written)
    throw Error(fmt::format("[output] what is printed cannot be written: {}", std::strerror(errno)),
                ExitCode::storage);
}

// Behind a subcommand and its names; a value of an option may look like it.
bool asks_for_version(const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    if (i > 0 && words[i - 1].starts_with("-")) continue;
    if (words[i] == "--version" || words[i] == "-V") return true;
  }
  return words.size() == 1 && words[0] == "version";
}

int dispatch(const std::vector<std::string>& words) {
  if (words.empty()) {
    if (rank_among_several().value_or(0) == 0) print_usage(stderr);
    return static_cast<int>(ExitCode::usage);
  }
  const bool help = words[0] == "--help" || words[0] == "-h" || words[0] == "help";
  if (help && words.size() > 1 && words[1] != "help" && !words[1].starts_with("-"))
    return dispatch({words[1], "--help"});
  if (help) {
    print_usage(stdout);
    return 0;
  }
  if (words[0] == "documentation") {
    if (words.size() == 2 && (words[1] == "--help" || words[1] == "-h")) {
      std::puts(documentation_usage);
      return 0;
    }
    return print_documentation(words);
  }
  if (asks_for_version(words)) {
    std::fputs(version_text().c_str(), stdout);
    return 0;
  }
  for (const auto& s : subcommands()) {
    if (words[0] != s.name) continue;
    const bool asks_help = words.size() > 1 && (words[1] == "--help" || words[1] == "-h");
    // One process's work would race with itself.
    if (rank_among_several() && !s.takes_ranks && !asks_help && s.run != launch_command)
      fail("switchyard", "'{}' is the work of one process; start it without mpirun, srun or launch",
           s.name);
    if (s.run == launch_command) check_launched(words);
    if (s.run != train_command) take_held_back_signals();
    return s.run(Arguments(words).subspan(1));
  }
  refuse(words[0]);
}

// Mostly all ranks meet it, and the first one says it: the others wait, as a launcher may end all
// when one has ended. Where they are still there, it may be their machine's alone, and the first
// rank of that says it, too.
int end_wrong_use(const std::string& message) {
  const std::string text = printable_lines(message);
  const int rank = rank_among_several().value_or(0);
  const bool leads_others = rank > 0 && leads_its_machine();
  if (rank > 0) std::this_thread::sleep_for(leads_others ? 1s : 2s);
  if (rank == 0)
    std::fprintf(stderr, "switchyard: %s\n", text.c_str());
  else if (leads_others)
    std::fprintf(stderr, "switchyard: %s (rank %d on %s)\n", text.c_str(), rank,
                 job_identity().host.c_str());
  std::fflush(stderr);
  return static_cast<int>(ExitCode::usage);
}

}  // namespace

}  // namespace switchyard

int main(int argc, char** argv) {
  switchyard::say_uncaught_errors();
  std::signal(SIGXFSZ, SIG_IGN);  // a write beyond `ulimit -f` is an error as others are
  try {
    switchyard::share_cores_among_local_ranks();
    const int code = switchyard::dispatch({argv + 1, argv + argc});
    switchyard::check_output_is_written();
    return code;
  } catch (const std::exception& problem) {
    const auto code = switchyard::code_of(problem);
    if (code == switchyard::ExitCode::usage) return switchyard::end_wrong_use(problem.what());
    std::fprintf(stderr, "switchyard: %s\n",
                 switchyard::printable_lines(switchyard::words_of(problem)).c_str());
    return static_cast<int>(code);
  }
}
