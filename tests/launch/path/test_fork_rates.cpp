// The table of rates in docs/paths.md, row by row.
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "core/error.h"
#include "launch/path/specification.h"
#include "tests/data/reference_set.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

struct Fork {
  int64_t step;
  std::string options;
};

// One case of a row: forks of a main path one behind the other, and what the last one comes to.
struct Case {
  std::string row;  // as docs/paths.md names it
  std::string main_options;
  std::vector<Fork> forks;
  std::map<int64_t, double> rates;
  std::string refusal;  // a part of the error, where it is refused
  std::string jump;     // a part of the line that says it
};

const std::string warms_up = "--lr-warmup-iters 10";
const Fork decayed = {20, "--lr-decay-style linear --lr-decay-iters 10"};

const std::vector<Case> cases = {
    {"nothing of a schedule", warms_up, {{4, ""}}, {{5, 5e-4}, {10, 1e-3}, {90, 1e-3}}, "", ""},
    {"nothing of a schedule",
     warms_up,
     {{20, "--lr 3e-3 --lr-warmup-iters 4"}, {22, "--weight-decay 0.1"}},
     {{23, 2.5e-3}, {24, 3e-3}, {25, 3e-3}},
     "",
     ""},
    {"nothing of a schedule", warms_up, {decayed, {25, ""}}, {{26, 4e-4}, {30, 0}}, "", ""},
    {"`--lr-decay-style S --lr-decay-iters N`",
     warms_up,
     {{20, "--lr-decay-style 1-sqrt --lr-decay-iters 4 --min-lr 1e-4"}},
     {{21, 5.5e-4}, {24, 1e-4}, {25, 1e-4}},
     "",
     ""},
    {"`--lr-decay-style S --lr-decay-iters N`",
     warms_up,
     {decayed, {25, "--lr-decay-style cosine --lr-decay-iters 2"}},
     {{26, 2.5e-4}, {27, 0}},
     "",
     ""},
    {"`--lr-decay-style S --lr-decay-iters N`",
     warms_up,
     {{20, "--lr-decay-style linear"}},
     {},
     "--lr-decay-iters",
     ""},
    {"the same inside the parent's warm-up",
     warms_up,
     {{4, "--lr-decay-style linear --lr-decay-iters 10"}},
     {{5, 5e-4}, {10, 1e-3}, {11, 7.5e-4}, {14, 0}},
     "",
     ""},
    {"the same inside the parent's warm-up",
     warms_up,
     {{4, "--lr-decay-style linear --lr-decay-iters 6"}},
     {},
     "warm-up lasts to step 10; at least 7",
     ""},
    {"the same inside the parent's warm-up",
     "",
     {{20, "--lr 3e-3 --lr-warmup-iters 4"}, {22, "--lr-decay-style linear --lr-decay-iters 4"}},
     {{23, 2.5e-3}, {24, 3e-3}, {25, 1.5e-3}, {26, 0}},
     "",
     ""},
    {"`--lr-decay-iters N` where the parent decays",
     warms_up,
     {decayed, {25, "--lr-decay-iters 2"}},
     {{26, 2.5e-4}, {27, 0}},
     "",
     ""},
    {"`--lr-decay-style constant` where the parent decays",
     warms_up,
     {decayed, {25, "--lr-decay-style constant"}},
     {{26, 5e-4}, {90, 5e-4}},
     "",
     ""},
    {"`--lr-decay-style constant` where the parent decays",
     warms_up,
     {decayed, {30, "--lr-decay-style constant"}},
     {},
     "decayed to 0 at step 30",
     ""},
    {"`--lr-decay-style constant` where the parent decays",
     "--lr-warmup-iters 10 --lr-decay-style linear --lr-decay-iters 30",
     {{4, "--lr-decay-style constant"}},
     {{5, 5e-4}, {10, 1e-3}, {90, 1e-3}},
     "",
     ""},
    {"nothing of a schedule behind the parent's decay",
     warms_up,
     {{20, "--lr-decay-style linear --lr-decay-iters 10 --min-lr 1e-4"}, {30, ""}},
     {{31, 1e-4}, {90, 1e-4}},
     "",
     "stays at 0.0001"},
    {"nothing of a schedule behind the parent's decay",
     warms_up,
     {decayed, {30, ""}},
     {},
     "the rate is 0 from there on; give one: --lr L",
     ""},
    {"nothing of a schedule behind the parent's decay",
     warms_up,
     {decayed, {40, "--seed 5"}},
     {},
     "step 40 is not before the end of the parent's decay, step 30",
     ""},
    {"`--lr L`",
     warms_up,
     {{4, "--lr 2e-3"}},
     {{5, 2e-3}, {90, 2e-3}},
     "",
     "from 0.0004 at step 4 to 0.002"},
    {"`--lr L`",
     warms_up,
     {decayed, {25, "--lr 2e-3"}},
     {{26, 2e-3}, {90, 2e-3}},
     "",
     "from 0.0005 at step 25 to 0.002"},
    {"`--lr L`", warms_up, {{20, "--lr 1e-3"}}, {{21, 1e-3}}, "", ""},
    {"`--lr L --lr-decay-style S --lr-decay-iters N`",
     warms_up,
     {{20, "--lr 2e-3 --lr-decay-style linear --lr-decay-iters 4"}},
     {{21, 1.5e-3}, {24, 0}},
     "",
     "from 0.001 at step 20 to 0.002"},
    {"`--lr-warmup-iters W`",
     warms_up,
     {decayed, {25, "--lr-warmup-iters 5"}},
     {{26, 6e-4}, {30, 1e-3}, {90, 1e-3}},
     "",
     ""},
    {"`--lr-warmup-iters W`",
     warms_up,
     {decayed, {30, "--lr 2e-3 --lr-warmup-iters 4"}},
     {{31, 5e-4}, {34, 2e-3}, {35, 2e-3}},
     "",
     ""},
    {"`--lr-warmup-iters W`",
     warms_up,
     {decayed, {25, "--lr-warmup-iters 0"}},
     {{26, 1e-3}},
     "",
     "from 0.0005 at step 25 to 0.001"},
    {"`--lr-warmup-iters W --lr-decay-style S --lr-decay-iters N`",
     warms_up,
     {{20, "--lr 3e-3 --lr-warmup-iters 4 --lr-decay-style linear --lr-decay-iters 6"}},
     {{21, 1.5e-3}, {24, 3e-3}, {25, 1.5e-3}, {26, 0}},
     "",
     ""},
    {"`--lr-warmup-iters W --lr-decay-style S --lr-decay-iters N`",
     warms_up,
     {{20, "--lr-warmup-iters 4 --lr-decay-style linear --lr-decay-iters 4"}},
     {},
     "warm-up lasts to step 24; at least 5",
     ""},
    {"any of these at `MAIN@0`, a random start",
     "",
     {{0, "--lr 2e-3 --lr-warmup-iters 4"}},
     {{1, 5e-4}, {4, 2e-3}, {5, 2e-3}},
     "",
     ""},
    {"any of these at `MAIN@0`, a random start",
     warms_up,
     {{0, "--lr-decay-style linear --lr-decay-iters 14"}},
     {{1, 1e-4}, {10, 1e-3}, {11, 7.5e-4}, {14, 0}},
     "",
     ""},
    {"`--lr L`",
     warms_up,
     {{20, "--lr-decay-style linear --lr-decay-iters 10 --min-lr 1e-4"}, {25, "--lr 5e-5"}},
     {{26, 5e-5}, {90, 5e-5}},
     "",
     "to 5e-05 at once"},
    {"`--lr L`", warms_up, {decayed, {25, "--lr 0"}}, {{26, 0}, {90, 0}}, "", "to 0 at once"},
    {"a decay from a rate that is not above `--min-lr`",
     warms_up,
     {{20, "--lr-decay-style linear --lr-decay-iters 10 --min-lr 1e-4"},
      {25, "--lr 5e-5 --lr-decay-style linear --lr-decay-iters 4"}},
     {},
     "is below the parent's --min-lr",
     ""},
    {"any of these at `MAIN@0`, a random start",
     "",
     {{0, "--lr-decay-style linear --lr-decay-iters 4"}},
     {{1, 7.5e-4}, {4, 0}},
     "",
     ""},
    {"a decay from a rate that is not above `--min-lr`",
     warms_up,
     {decayed, {30, "--lr-decay-style linear --lr-decay-iters 4"}},
     {},
     "above its minimum",
     ""},
    {"a decay from a rate that is not above `--min-lr`",
     warms_up,
     {{20, "--lr-decay-style linear --lr-decay-iters 4 --min-lr 1e-3"}},
     {},
     "above its minimum",
     ""},
};

class ForkRates : public testing::TestWithParam<Case> {
 protected:
  static Settings given(const std::string& line) {
    auto all = model_options();
    const auto training = training_options();
    all.insert(all.end(), training.begin(), training.end());
    std::istringstream stream(line);
    const std::vector<std::string> words(std::istream_iterator<std::string>(stream), {});
    return parse_command(all, words).given;
  }
  PathSpecification make_main(const std::string& options) const {
    const std::string prefix = (folder_.path() / "a").string();
    test::write_counting_set(prefix, 2000);
    return new_path(
        given("--num-layers 2 --hidden-size 32 --num-attention-heads 4 --seq-length 16 "
              "--global-batch-size 8 --lr 1e-3 --data-path " +
              prefix + " " + options));
  }
  static PathSpecification fork(const PathSpecification& parent, const Fork& f) {
    return fork_path(parent, {"../main", "id", f.step, parent.samples_at(f.step)},
                     given(f.options));
  }
  test::TemporaryFolder folder_;
};

TEST_P(ForkRates, AreThoseOfTheTable) {
  const Case& c = GetParam();
  PathSpecification parent = make_main(c.main_options);
  for (size_t i = 0; i + 1 < c.forks.size(); ++i) parent = fork(parent, c.forks[i]);
  if (!c.refusal.empty()) {
    const auto message = test::message_of([&] { fork(parent, c.forks.back()); });
    EXPECT_THAT(message, HasSubstr(c.refusal));
    return;
  }
  const auto branch =
      PathSpecification::from_json(fork(parent, c.forks.back()).to_json(), "the branch");
  for (const auto& [step, rate] : c.rates) {
    EXPECT_NEAR(learning_rate(branch.schedule, step), rate, 1e-15) << "step " << step;
  }
  const auto lines = describe_rates(parent, branch);
  EXPECT_THAT(lines.front(), HasSubstr("step " + std::to_string(c.forks.back().step + 1)));
  EXPECT_EQ(lines.size(), c.jump.empty() ? 1u : 2u);
  if (!c.jump.empty()) {
    EXPECT_THAT(lines.back(), HasSubstr(c.jump));
  }
  // What the path says of itself is what it does: given again, it is no contradiction.
  EXPECT_EQ(branch.settings.real("lr"), branch.schedule.maximum);
  EXPECT_EQ(branch.settings.integer("lr-warmup-iters"), branch.schedule.warmup);
}

INSTANTIATE_TEST_SUITE_P(Table, ForkRates, testing::ValuesIn(cases));

TEST(ForkRatesTable, HasARowForEachCaseAndACaseForEachRow) {
  std::ifstream stream(SWITCHYARD_PATHS_PAGE);
  std::set<std::string> rows, tried;
  std::string line;
  while (std::getline(stream, line) && !line.starts_with("| given to `fork PARENT@F`")) continue;
  std::getline(stream, line);
  while (std::getline(stream, line) && line.starts_with("| ")) {
    rows.insert(line.substr(2, line.find(" | ") - 2));
  }
  for (const Case& c : cases) tried.insert(c.row);
  EXPECT_EQ(rows, tried);
}

}  // namespace
}  // namespace switchyard
