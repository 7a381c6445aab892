// Paths as versions of this program wrote them (make_paths) are read by every later one: scored,
// continued, forked, averaged and inspected, and go on as they did then.
#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

class OldPaths : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string archive = std::string(GOLDEN_FOLDER "/") + GetParam() + ".tar.xz";
    ASSERT_EQ(std::system(("tar xf " + archive + " -C " + folder_.path().string()).c_str()), 0);
    std::ifstream stream(at("expected"));
    for (std::string kind, run, line; stream >> kind >> run && std::getline(stream, line);)
      (kind == "score" ? scores_ : steps_)[run].push_back(nlohmann::json::parse(line));
  }
  fs::path at(const std::string& name) const { return folder_.path() / "paths" / name; }
  std::string name(const std::string& of) const { return at(of).string(); }

  // Other instruction sets round otherwise, in bf16 more.
  static void expect_near(const nlohmann::json& loss, const nlohmann::json& expected,
                          const std::string& run) {
    const double tolerance = run == "plain" ? 1e-5 : 1e-3;
    EXPECT_NEAR(loss.get<double>(), expected.get<double>(), tolerance * expected.get<double>());
  }
  // The sets have moved, so those of each stage are given once.
  void go_on(const std::string& run, const std::vector<std::string>& sets, int64_t to,
             Layout layout = {}) {
    for (const auto& set : sets)
      train(at(run), "--data-path " + name("sets/" + set) + " --train-iters 1");
    train(at(run), "--train-iters " + std::to_string(to), layout);
    const auto lines = metrics_of(at(run));
    const auto& expected = steps_.at(run);
    ASSERT_EQ(lines.size(), expected.size()) << run;
    for (size_t i = 0; i < lines.size(); ++i) {
      expect_near(lines[i].at("loss"), expected[i].at("loss"), run);
      for (const char* exact : {"step", "learning_rate", "samples", "tokens"})
        EXPECT_EQ(lines[i].at(exact), expected[i].at(exact)) << run << " " << exact;
    }
  }

  TemporaryFolder folder_;
  std::map<std::string, std::vector<nlohmann::json>> scores_, steps_;
};

TEST_P(OldPaths, have_their_scores) {
  EXPECT_EQ(scores_.size(), 4u);
  for (const auto& [run, lines] : scores_) {
    const auto score = run_well("eval " + name(run) + " --json --data-path " + name("sets/text"));
    expect_near(nlohmann::json::parse(score).at("loss"), lines[0].at("loss"), run);
    run_well("inspect " + name(run) + " --verify");
  }
  const auto listed = run_well("list " + name(""));
  for (const char* line : {"main", "  @4 branch", "  mean", "plain"})
    EXPECT_THAT(listed, testing::HasSubstr(line));
}

TEST_P(OldPaths, go_on) {
  go_on("main", {"text", "new"}, 8);
  go_on("branch", {"text", "new"}, 8);
  go_on("plain", {"text"}, 5);
}

TEST_P(OldPaths, go_on_in_another_layout) {
  go_on("main", {"text", "new"}, 8, {.dp = 2, .pp = 2});
  go_on("plain", {"text"}, 5, {.tp = 2, .dp = 2});
}

TEST_P(OldPaths, are_forked_and_averaged) {
  const std::string old = name("main") + "@4 ", sets = " --data-path " + name("sets/text");
  run_well("fork " + old + name("new") + sets + " --lr-decay-style linear --lr-decay-iters 2");
  train(at("new"), "");
  EXPECT_EQ(saved_steps(at("new")), std::vector<int64_t>{6});
  run_well("average " + name("main") + " --steps 4:4:1 --output " + name("one"));
  const auto score = run_well("eval " + name("one") + " --json" + sets);
  expect_near(nlohmann::json::parse(score).at("loss"), scores_.at("main")[0].at("loss"), "main");
}

TEST_P(OldPaths, keep_their_moments) {
  const int64_t last = saved_steps(at("plain")).back();
  const auto before = tensors_of(checkpoint_of(at("plain"), last));
  train(at("plain"), "--data-path " + name("sets/text") + " --train-iters 5 --keep-moments 1");
  EXPECT_EQ(saved_steps(at("plain")).back(), 5);
  EXPECT_THAT(run_well("prune " + name("plain") + " --yes"), testing::HasSubstr("format 1"));
  EXPECT_TRUE(before == tensors_of(checkpoint_of(at("plain"), last)));
}

INSTANTIATE_TEST_SUITE_P(of, OldPaths, testing::Values("paths-1"));

}  // namespace
}  // namespace switchyard::test
