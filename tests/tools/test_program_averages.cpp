// Averages while training: what they are, that a resume goes on with them, and that the run itself
// knows nothing of them.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "launch/path/average_document.h"
#include "parallel/checkpoint/state_groups.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::Each;
using testing::HasSubstr;

using Numbers = std::vector<double>;

constexpr const char* all_kinds =
    " --average ema:beta=0.75,every=2 lawa:k=3,every=2 short=lawa:k=9,every=3 swa:from=4,every=1 "
    "running";

class ProgramAverages : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string words_of(const std::string& others) const {
    return tiny_path(data_, 4, "--num-layers 2 --hidden-size 32 " + others);
  }
  std::map<std::string, std::vector<char>> saved(const std::string& run, int64_t step) const {
    return tensors_of(checkpoint_of(at(run), step));
  }
  void go_on(const std::string& run, const std::string& options) const {
    run_well("train " + at(run).string() + " " + options);
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 30'000);
};

template <class T>
Numbers numbers_in(const std::vector<char>& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return {values.begin(), values.end()};
}

// One weight behind each of a path's steps, all of which are saved.
class Steps {
 public:
  Steps(const fs::path& run, int64_t last) {
    for (int64_t step = 1; step <= last; ++step) {
      all_.push_back(tensors_of(checkpoint_of(run, step)));
    }
  }
  Numbers at(int64_t step, const std::string& weight) const {
    return numbers_in<float>(
        all_[static_cast<size_t>(step - 1)].at(tensor_name(groups::master, weight)));
  }
  Numbers mean(std::vector<int64_t> steps, const std::string& weight) const {
    Numbers sum = at(steps[0], weight);
    for (size_t s = 1; s < steps.size(); ++s) {
      const Numbers more = at(steps[s], weight);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
    }
    for (double& each : sum) each /= static_cast<double>(steps.size());
    return sum;
  }
  Numbers ema(const std::vector<int64_t>& steps, double beta, const std::string& weight) const {
    Numbers mean = at(steps[0], weight);
    for (size_t s = 1; s < steps.size(); ++s) {
      const Numbers now = at(steps[s], weight);
      for (size_t i = 0; i < mean.size(); ++i) mean[i] = beta * mean[i] + (1 - beta) * now[i];
    }
    return mean;
  }

 private:
  std::vector<std::map<std::string, std::vector<char>>> all_;
};

void expect_close(const Numbers& got, const Numbers& wanted, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], wanted[i], tolerance * (1 + std::abs(wanted[i]))) << what << " at " << i;
  }
}

std::vector<std::string> weights_of(const std::map<std::string, std::vector<char>>& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : tensors) {
    if (name.starts_with("/model/")) names.push_back(name.substr(7));
  }
  return names;
}

// Of a run that saved each of its 8 steps.
void expect_formulas(const fs::path& run) {
  const Steps steps(run, 8);
  const auto last = tensors_of(checkpoint_of(run, 8)), earlier = tensors_of(checkpoint_of(run, 5));
  for (const std::string& weight : weights_of(last)) {
    const auto of = [&](const std::string& group) {
      return numbers_in<float>(last.at("/average/" + group + "/" + weight));
    };
    expect_close(of("ema"), steps.ema({2, 4, 6, 8}, 0.75, weight), 1e-6, "ema of " + weight);
    expect_close(of("swa"), steps.mean({4, 5, 6, 7, 8}, weight), 1e-6, "swa of " + weight);
    expect_close(of("short"), steps.mean({3, 6}, weight), 1e-6, "lawa of " + weight);
    expect_close(of("running"), steps.mean({1, 2, 3, 4, 5, 6, 7, 8}, weight), 1e-6, weight);
    // The mean over a window of steps follows from the sums of two checkpoints.
    Numbers window = numbers_in<double>(last.at("/average/running/sum/" + weight));
    const Numbers before = numbers_in<double>(earlier.at("/average/running/sum/" + weight));
    for (size_t i = 0; i < window.size(); ++i) window[i] = (window[i] - before[i]) / 3;
    expect_close(window, steps.mean({6, 7, 8}, weight), 1e-6, "a window of " + weight);
  }
}

// `average --window` of two checkpoints, also of all steps since the mean began.
void expect_windows(const fs::path& run, const fs::path& folder) {
  const Steps steps(run, 8);
  const std::string line = "average " + run.string() + " --window ";
  const std::string some = " --output " + (folder / "some").string();
  run_well(line + "5:8" + some);
  run_well(line + "0:8 --weights average/running --output " + (folder / "all").string());
  run_well(line + "5:8" + some);  // already so
  expect_refused(line + "4:8" + some, {"window 5:8", "window 4:8"});
  const auto window = tensors_of(checkpoint_of(folder / "some", 8));
  const auto whole = tensors_of(checkpoint_of(folder / "all", 8));
  for (const std::string& weight : weights_of(window)) {
    expect_close(numbers_in<float>(window.at("/model/" + weight)), steps.mean({6, 7, 8}, weight),
                 1e-6, weight);
    expect_close(numbers_in<float>(whole.at("/model/" + weight)),
                 steps.mean({1, 2, 3, 4, 5, 6, 7, 8}, weight), 1e-6, weight);
  }
  const std::string to = " --output " + (folder / "none").string();
  expect_refused(line + "8:5" + to, {"--window 8:5", "0 <= A < B"});
  expect_refused(line + "5:8 --weights average/ema" + to, {"average/ema", "average/running"});
  expect_refused(line + "5:9" + to, {"step 9"});
  expect_refused(line + "5:8 --weights-of linear" + to, {"--window 5:8", "--weights-of linear"});
}

// `average` of the saved steps has the same bits; all members lie in checkpoints of their own.
void expect_lawa_as_average(const fs::path& run, const fs::path& mean) {
  run_well("average " + run.string() + " --steps 4:8:2 --output " + mean.string());
  const auto online = tensors_of(checkpoint_of(run, 8)),
             offline = tensors_of(checkpoint_of(mean, 8));
  for (const std::string& weight : weights_of(online)) {
    EXPECT_EQ(online.at("/average/lawa/" + weight), offline.at("/model/" + weight)) << weight;
  }
  for (const auto& [name, bytes] : online) EXPECT_THAT(name, testing::Not(HasSubstr("member-")));
}

// The run and every tensor of its own are as without averages.
void expect_raw(const fs::path& with, const fs::path& without) {
  expect_same_steps(with, without, 1, 8);
  const auto all = tensors_of(checkpoint_of(with, 8));
  for (const auto& [name, bytes] : tensors_of(checkpoint_of(without, 8))) {
    EXPECT_EQ(all.at(name), bytes) << name;
  }
  const auto a = metrics_of(with), b = metrics_of(without);
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].contains("validation_loss"), b[i].contains("validation_loss"));
    if (a[i].contains("validation_loss")) {
      EXPECT_EQ(a[i].at("validation_loss"), b[i].at("validation_loss"));
    }
  }
}

TEST_F(ProgramAverages, AreWhatSavedCheckpointsSayAndLeaveTheRunAlone) {
  const Layout layouts[] = {{.tp = 2, .dp = 2}, {.pp = 2}};
  for (const std::string dtype : {"", "--bf16"}) {
    const Layout layout = layouts[dtype.empty() ? 0 : 1];
    const std::string more =
        dtype + " --split 90,10 --eval-interval 4 --eval-iters 1 --train-iters 8";
    const fs::path with = at("with" + dtype), without = at("without" + dtype);
    train(with, words_of(more + " --save-interval 1" + all_kinds), layout);
    train(without, words_of(more), layout);
    expect_raw(with, without);
    expect_formulas(with);
    expect_lawa_as_average(with, at("mean" + dtype));
    if (!dtype.empty()) expect_windows(with, folder_.path());
  }
  const auto metrics = metrics_of(at("with"));
  EXPECT_FALSE(metrics[2].contains("validation_averages"));
  for (const char* name : {"ema", "lawa", "short", "swa", "running"}) {
    const auto& loss = metrics[7].at("validation_averages").at(name).at("loss");
    EXPECT_NE(loss, metrics[7].at("validation_loss")) << name;
    EXPECT_NEAR(loss.get<double>(), metrics[7].at("validation_loss").get<double>(), 1) << name;
  }
  run_well("eval " + at("with").string() + " --data-path " + data_ + " --weights average/swa");
}

TEST_F(ProgramAverages, GoOnWhereAStartStopped) {
  const auto options = words_of("--save-interval 3 --keep-checkpoints 1");
  const std::string more = " --train-iters ";
  train(at("cut"), options + all_kinds + more + "5", {.dp = 2});
  EXPECT_EQ(saved_steps(at("cut")), (std::vector<int64_t>{3, 5}));  // 3 is a member of 'short'
  train(at("cut"), options + more + "8", {.dp = 2});                // remembered
  train(at("whole"), options + all_kinds + more + "8", {.dp = 2});
  const auto cut = saved("cut", 8), whole = saved("whole", 8);
  for (const auto& [name, bytes] : whole) {
    if (name.find("member-") != std::string::npos) continue;
    EXPECT_EQ(cut.at(name), bytes) << name;
  }
  train(at("cut"), options + more + "10", {.tp = 2});
  train(at("whole"), options + more + "10", {.dp = 2});
  const auto other = saved("cut", 10);
  for (const auto& [name, bytes] : saved("whole", 10)) {
    if (name.find("/average/") != 0 || name.find("member-") != std::string::npos) continue;
    if (name.find("/sum/") != std::string::npos) continue;
    expect_close(numbers_in<float>(other.at(name)), numbers_in<float>(bytes), 1e-4, name);
  }
}

// Members that lie in steps of their own keep these, but not those that they are the mean of.
TEST_F(ProgramAverages, KeepTheStepsThatHoldTheirMembers) {
  const auto options =
      words_of("--save-interval 1 --keep-checkpoints 1 --keep-moments 1 --train-iters ");
  train(at("run"), options + "7 --average lawa:k=3,every=1");
  EXPECT_EQ(saved_steps(at("run")), (std::vector<int64_t>{5, 6, 7}));
  EXPECT_FALSE(saved("run", 6).contains("/optimizer/exp_avg/final_norm.weight"));
  train(at("run"), options + "8", {.tp = 2});
  EXPECT_EQ(saved_steps(at("run")), (std::vector<int64_t>{6, 7, 8}));
  run_well("average " + at("run").string() + " --steps 6:8:1 --output " + at("mean").string());
  const auto mean = tensors_of(checkpoint_of(at("mean"), 8)), last = saved("run", 8);
  for (const std::string& weight : weights_of(last)) {
    EXPECT_EQ(last.at("/average/lawa/" + weight), mean.at("/model/" + weight)) << weight;
  }
  go_on("run", "--train-iters 9 --drop-average lawa");
  EXPECT_EQ(saved_steps(at("run")), (std::vector<int64_t>{9}));
}

TEST_F(ProgramAverages, AMemberThatIsGoneIsNamed) {
  train(at("run"), words_of("--save-interval 2 --train-iters 6 --average lawa:k=3,every=2"));
  fs::remove_all(checkpoint_of(at("run"), 4));
  const std::string start = "train " + at("run").string() + " --train-iters 8";
  expect_refused(start, {"step 6", "step 4", "not saved any more", "--drop-average"}, 1, 5);
  go_on("run", "--train-iters 8 --drop-average lawa");
  EXPECT_FALSE(saved("run", 8).contains("/average/lawa/final_norm.weight"));
}

TEST_F(ProgramAverages, AreRememberedAddedAndDroppedAndNotInherited) {
  train(at("main"), words_of("--train-iters 2 --average ema:beta=0.5,every=1"));
  const std::string start = "train " + at("main").string() + " --train-iters ";
  expect_refused(start + "4 --average ema:beta=0.9,every=1",
                 {"--average ema:beta=0.9,every=1", "step 2 has ema:beta=0.5,every=1"});
  expect_refused(start + "4 --drop-average other", {"--drop-average other", "step 2 has ema"});
  const auto outcome = run(words(start + "4 --average late=swa:from=0,every=1"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err,
              HasSubstr("average ema:beta=0.5,every=1 goes on; it began behind step 0"));
  EXPECT_THAT(outcome.err, HasSubstr("average late=swa:from=0,every=1 begins behind step 2"));
  go_on("main", "--train-iters 5 --drop-average ema --average ema:beta=0.9,every=1");
  const auto averages = averages_in(CheckpointReader(checkpoint_of(at("main"), 5)).info());
  ASSERT_EQ(averages.records.size(), 2u);
  EXPECT_EQ(averages.records[0].count, 3);
  EXPECT_EQ(averages.records[1].since, 4);
  run_well("fork " + at("main").string() + "@4 " + at("branch").string());
  go_on("branch", "--train-iters 6 --average running");
  const auto branch = averages_in(CheckpointReader(checkpoint_of(at("branch"), 6)).info());
  ASSERT_EQ(branch.records.size(), 1u);
  EXPECT_EQ(branch.records[0].since, 4);
  EXPECT_EQ(branch.records[0].count, 2);
}

TEST(BadAverages, AreRefusedInOneLine) {
  const RefusalFolder folder;
  const std::pair<const char*, const char*> bad[] = {
      {"mean", "'mean' is no kind of average"},
      {"ema:beta=0.9", "every is missing"},
      {"ema:beta=1,every=2", "beta=1; 0 < beta < 1"},
      {"ema:beta=nan,every=2", "beta=nan"},
      {"ema:beta=0.9,every=2,every=3", "every was given twice"},
      {"ema:beta=0.9,every=2,k=3", "ema has no 'k'"},
      {"ema:beta,every=2", "'beta'"},
      {"ema:", "nothing behind the colon"},
      {"lawa:k=0,every=2", "k=0; 1 to"},
      {"lawa:k=2,every=0", "every=0; 1 to"},
      {"swa:from=-1,every=2", "from=-1; 0 to"},
      {"a/b=running", "the name 'a/b'"},
      {"=running", "the name ''"},
      {"running lawa:k=1,every=1 lawa:k=2,every=1", "two averages of the name 'lawa'"}};
  for (const auto& [text, part] : bad) {
    expect_refused(folder.train("new", {}, std::string("--average ") + text), {"--average", part});
  }
  expect_refused(folder.train("new", {}, "--drop-average ema"),
                 {"--drop-average ema", "no averages"});
  EXPECT_FALSE(fs::exists(folder.at("new")));
}

}  // namespace
}  // namespace switchyard::test
