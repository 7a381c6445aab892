// Man page and shell completions say what --help says.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/support/temporary_folder.h"
#include "tests/tools/program.h"

namespace switchyard::test {
namespace {

using testing::HasSubstr;

std::set<std::string> matches(const std::string& text, const std::string& pattern) {
  std::set<std::string> found;
  const std::regex expression(pattern);
  for (std::sregex_iterator it(text.begin(), text.end(), expression), end; it != end; ++it) {
    found.insert((*it)[1]);
  }
  return found;
}

std::set<std::string> subcommands() { return matches(run_well("--help"), "\n  ([a-z][a-z-]*) "); }

// Long and short names, "--tp:" in the help of its long form.
std::set<std::string> options_of(const std::string& subcommand) {
  return matches(run_well(subcommand + " --help"), "\\s(--[a-z0-9-]+)");
}

// What follows `begin` up to the next `end`.
std::string part(const std::string& text, const std::string& begin, const std::string& end) {
  const size_t at = text.find(begin);
  return at == std::string::npos ? "" : text.substr(at, text.find(end, at + 1) - at);
}

TEST(Documentation, HasEveryOptionOfEverySubcommand) {
  std::string man = run_well("documentation man");
  std::erase(man, '\\');
  const std::string bash = run_well("documentation bash");
  const std::string zsh = run_well("documentation zsh");
  const auto names = subcommands();
  EXPECT_GT(names.size(), 10u);
  for (const std::string& name : names) {
    const std::string in_man = part(man, "\n.SS " + name + "\n", "\n.S");
    const std::string in_bash = part(bash, "\n      " + name + ") words='", "' ;;") + " ";
    const std::string in_zsh = part(zsh, "\n    " + name + ")\n", ";;");
    for (const std::string& option : options_of(name)) {
      EXPECT_THAT(in_man, HasSubstr("fB" + option + "fR")) << name;
      EXPECT_THAT(in_bash, testing::AnyOf(HasSubstr(option + " "), HasSubstr("'" + option + " ")))
          << name;
      EXPECT_THAT(in_zsh, HasSubstr(option + "[")) << name;
    }
  }
  EXPECT_NE(run({"documentation", "html"}).exit_code, 0);
}

TEST(Documentation, HelpNamesIt) {
  EXPECT_THAT(run_well("--help"), HasSubstr("documentation man|bash|zsh|options prints"));
  for (const char* line : {"documentation --help", "documentation -h", "help documentation"})
    EXPECT_THAT(run_well(line), HasSubstr("switchyard documentation man|bash|zsh|options")) << line;
}

// What bash offers behind these words.
std::string completed(const std::string& line) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "completion") << run_well("documentation bash");
  const std::string script = ". " + (folder.path() / "completion").string() + "; COMP_WORDS=(" +
                             line +
                             "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _switchyard; "
                             "echo \"${COMPREPLY[@]}\" > " +
                             (folder.path() / "out").string();
  EXPECT_EQ(std::system(("bash -c '" + script + "'").c_str()), 0);
  std::ifstream stream(folder.path() / "out");
  std::string out;
  std::getline(stream, out);
  return out;
}

TEST(Documentation, BashCompletesSubcommandsOptionsAndPresets) {
  EXPECT_EQ(completed("switchyard av"), "average");
  EXPECT_EQ(completed("switchyard train --tensor-"), "--tensor-model-parallel-size");
  EXPECT_EQ(completed("switchyard average RUN --st"), "--steps");
  EXPECT_EQ(completed("switchyard plan --preset llama-7"), "llama-7b");
  EXPECT_EQ(completed("switchyard --ver"), "--version");
  EXPECT_EQ(completed("switchyard launch -n"), "-np");
  EXPECT_EQ(completed("switchyard launch -np 2 -- tr"), "train");
  EXPECT_EQ(completed("switchyard launch -np 2 -- train RUN --tensor-"),
            "--tensor-model-parallel-size");
}

TEST(Documentation, BashCompletesTheValuesThatHelpNames) {
  const std::string help = run_well("train --help") + run_well("plan --help");
  for (const std::string option : {"device", "attention-backend", "lr-decay-style", "gpu", "preset",
                                   "position-embedding-type", "normalization", "activation"}) {
    const std::string values = completed("switchyard train --" + option + " \"\"");
    EXPECT_THAT(values, HasSubstr(" ")) << option;
    std::istringstream words(values);
    for (std::string value; words >> value;) EXPECT_THAT(help, HasSubstr(value)) << option;
  }
}

// switchyard documentation options > docs/options.md
TEST(Documentation, TheOptionsPageIsFresh) {
  std::ifstream stream(SWITCHYARD_SOURCE "/docs/options.md");
  std::stringstream page;
  page << stream.rdbuf();
  EXPECT_EQ(page.str(), run_well("documentation options"));
  for (const std::string& name : subcommands()) {
    EXPECT_THAT(page.str(), HasSubstr("\n### " + name + "\n")) << name;
    EXPECT_THAT(run_well(name + " --help"), HasSubstr("switchyard " + name + " ")) << name;
  }
}

// Of a terminal of 80 columns, whose lines end with a carriage return, too.
TEST(Program, HelpFitsTheTerminal) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "out").string();
  const std::string command = "stty cols 80; " SWITCHYARD_PROGRAM " train --help";
  ASSERT_EQ(std::system(("script -qec '" + command + "' " + out + " >/dev/null").c_str()), 0);
  std::ifstream stream(out);
  size_t longest = 0, lines = 0;
  for (std::string line; std::getline(stream, line); ++lines) {
    if (line.starts_with("Script ")) continue;
    longest = std::max(longest, line.size() - (line.ends_with('\r') ? 1 : 0));
  }
  EXPECT_GT(lines, 100u);
  EXPECT_LE(longest, 80u);
  EXPECT_GE(longest, 75u);
}

TEST(Program, AnswersWordsInFrontOfTheSubcommand) {
  EXPECT_THAT(run({"--verison"}).err, HasSubstr("did you mean '--version'?"));
  EXPECT_THAT(run({"trian"}).err, HasSubstr("did you mean 'train'?"));
  EXPECT_THAT(run({"--trian"}).err, HasSubstr("did you mean 'train'?"));
  EXPECT_THAT(run({"--tp", "2", "train"}).err, HasSubstr("stands behind one"));
  EXPECT_EQ(run_well("help train"), run_well("train --help"));
  EXPECT_EQ(run_well("help help"), run_well("--help"));
}

TEST(Program, AnOptionOfOtherCommandsNamesThem) {
  EXPECT_THAT(run({"fork", "A@1", "B", "--tp", "2"}).err,
              HasSubstr("--tp is no option of fork, but of train, "));
  EXPECT_THAT(run({"eval", "A", "--seq-length", "2"}).err,
              testing::AllOf(HasSubstr("but of train, fork, "), HasSubstr("the path says it")));
}

TEST(Program, WorkOfOneProcessIsRefusedOnSeveralRanks) {
  const std::string all[] = {"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2",
                             "SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2",
                             "RANK=0 LOCAL_RANK=0 WORLD_SIZE=2"};
  for (const std::string& environment : all) {
    const Outcome outcome = run({"list", "/"}, 1, environment);
    EXPECT_EQ(outcome.exit_code, 2) << environment;
    EXPECT_THAT(outcome.err, HasSubstr("'list' is the work of one process")) << environment;
  }
  const Outcome second =
      run({"list", "/"}, 1,
          "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_SIZE=2");
  EXPECT_EQ(second.exit_code, 2);
  EXPECT_EQ(second.err, "");
  const TemporaryFolder none;
  const std::string by_hand = "SLURM_NTASKS=2 SLURM_PROCID=0 RANK=0 WORLD_SIZE=2";
  EXPECT_EQ(run({"list", none.path().string()}, 1, by_hand).err.find("one process"),
            std::string::npos);
}

}  // namespace
}  // namespace switchyard::test
