// What is done with a path's checkpoints: averages, evaluation, generation, inspection.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/memory.h"
#include "launch/engine/memory_plan.h"
#include "launch/generate.h"
#include "launch/path/run_folder.h"
#include "launch/path/run_settings.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

class Versions : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto data = make_tokens(folder_.path(), "text", 60'000);
    train(at("main"), tiny_path(data, 6, "--save-interval 4 --train-iters 12" + precision_));
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  nlohmann::json evaluate(const std::string& run, Layout layout = {}) const {
    return nlohmann::json::parse(run_well("eval " + at(run).string() + " --data-path " + held_out_ +
                                              " --json --tp " + std::to_string(layout.tp) +
                                              " --pp " + std::to_string(layout.pp),
                                          layout.ranks()));
  }
  std::string generate(const std::string& options) const {
    return run_well("generate " + at("main").string() + " --prompt rank --max-new-tokens 60 " +
                    options);
  }
  void average(const std::string& steps, const std::string& output) const {
    run_well("average " + at("main").string() + " --steps " + steps + " --output " +
             at(output).string());
  }

  TemporaryFolder folder_;
  std::string held_out_ = make_tokens(folder_.path(), "held-out", 5'000, 3);
  std::string precision_;
};

class VersionsInBf16 : public Versions {
 protected:
  VersionsInBf16() { precision_ = " --bf16"; }
};

std::vector<float> floats(const std::vector<char>& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST_F(Versions, average_of_one_checkpoint_is_that_checkpoint) {
  average("8:8:1", "one");
  EXPECT_EQ(evaluate("main@8").at("loss"), evaluate("one").at("loss"));
}

TEST_F(VersionsInBf16, average_of_one_checkpoint_is_that_checkpoint) {
  average("8:8:1", "one");
  EXPECT_EQ(evaluate("main@8").at("loss"), evaluate("one").at("loss"));
}

// Of the fp32 weights, which in bf16 are the master's.
void expect_mean(const fs::path& main, const fs::path& mean, const std::string& group) {
  const auto made = tensors_of(checkpoint_of(mean, 12));
  std::vector<std::map<std::string, std::vector<char>>> parts;
  for (const int64_t step : {4, 8, 12}) parts.push_back(tensors_of(checkpoint_of(main, step)));
  int64_t weights = 0;
  for (const auto& [name, bytes] : made) {
    const std::string weight = name.substr(std::string("/model/").size());
    const auto values = floats(bytes);
    std::vector<double> sums(values.size());
    for (const auto& part : parts) {
      const auto one = floats(part.at(group + weight));
      ASSERT_EQ(one.size(), sums.size()) << name;
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += one[i];
    }
    size_t wrong = 0;
    for (size_t i = 0; i < sums.size(); ++i)
      wrong += values[i] != static_cast<float>(sums[i] / 3) ? 1 : 0;
    EXPECT_EQ(wrong, 0u) << name;
    ++weights;
  }
  EXPECT_GT(weights, 10);
}

TEST_F(Versions, average_is_the_mean_of_the_weights) {
  average("4:12:4", "mean");
  expect_mean(at("main"), at("mean"), "/model/");
  EXPECT_NE(evaluate("mean").at("loss"), evaluate("main").at("loss"));
  const auto found = run_well("inspect " + at("mean").string() + " --json");
  EXPECT_TRUE(nlohmann::json::parse(found).at("loss").is_null());
}

TEST_F(VersionsInBf16, average_is_the_mean_of_the_master_weights) {
  average("4:12:4", "mean");
  expect_mean(at("main"), at("mean"), "/optimizer/master/");
}

// A label each row, and rows that a screen of 24 lines takes.
void expect_screen(const std::string& text, std::initializer_list<const char*> rows) {
  EXPECT_LE(std::ranges::count(text, '\n'), 24) << text;
  for (const char* row : rows) EXPECT_NE(text.find(row), std::string::npos) << row << "\n" << text;
}

// In fp32 the master copy is the weights themselves, in bf16 what they were rounded from.
TEST_F(Versions, weights_are_of_the_group_that_is_named) {
  const auto score = [&](const std::string& group) {
    return nlohmann::json::parse(run_well("eval " + at("main").string() + " --data-path " +
                                          held_out_ + " --json --weights " + group))
        .at("loss");
  };
  const auto loss = evaluate("main").at("loss");
  EXPECT_EQ(score("model"), loss);
  EXPECT_EQ(score("optimizer/master"), loss);
  EXPECT_NE(score("optimizer/exp_avg"), loss);
  EXPECT_EQ(generate("--temperature 0 --weights optimizer/master"), generate("--temperature 0"));
  EXPECT_NE(generate("--temperature 0 --weights optimizer/exp_avg"), generate("--temperature 0"));
}

TEST_F(VersionsInBf16, weights_are_of_the_group_that_is_named) {
  const std::string options = " --steps 4:12:4 --weights optimizer/exp_avg --output ";
  run_well("average " + at("main").string() + options + at("moments").string());
  expect_mean(at("main"), at("moments"), "/optimizer/exp_avg/");
  expect_screen(run_well("inspect " + at("moments").string()),
                {"the mean of optimizer/exp_avg of ", "groups       model f32\n"});
  expect_screen(run_well("inspect " + at("main").string()),
                {"groups       model bf16, optimizer/exp_avg f32, optimizer/exp_avg_sq f32, "
                 "optimizer/master f32\n             optimizer/counters, optimizer/loss_scale\n"});
  average("4:12:4", "mean");
  run_well("average " + at("main").string() +
           " --steps 4:12:4 --weights optimizer/master --output " + at("masters").string());
  EXPECT_EQ(evaluate("mean").at("loss"), evaluate("masters").at("loss"));
}

TEST_F(Versions, weights_that_are_not_there_are_answered_by_those_that_are) {
  const std::string main = at("main").string(), data = " --data-path " + held_out_;
  const std::vector<std::string> parts = {"--weights slow",
                                          "the weights in step 12 are model, optimizer/exp_avg, "
                                          "optimizer/exp_avg_sq, optimizer/master"};
  expect_refused("eval " + main + data + " --weights slow", parts);
  expect_refused("eval " + main + data + " --weights optimizer/counters",
                 {"--weights optimizer/counters", "are model,"});
  expect_refused("eval " + main + "@0" + data + " --weights slow",
                 {"--weights slow", "random start has model alone"});
  expect_refused("generate " + main + " --prompt the --weights slow", parts);
  const std::string mean = at("mean").string();
  expect_refused("average " + main + " --steps 12:12:1 --weights slow --output " + mean, parts);
  EXPECT_FALSE(fs::exists(mean));
}

TEST_F(Versions, evaluation_agrees_in_every_layout) {
  const auto serial = evaluate("main");
  EXPECT_EQ(serial.at("step"), 12);
  EXPECT_EQ(serial.at("tokens").get<int64_t>(), serial.at("text_bytes").get<int64_t>());
  const double loss = serial.at("loss");
  EXPECT_NEAR(serial.at("perplexity").get<double>(), std::exp(loss), 1e-9 * std::exp(loss));
  for (const Layout layout : {Layout{.tp = 2}, {.pp = 3}, {.tp = 2, .dp = 2}, {.dp = 2, .pp = 2}}) {
    const auto other = evaluate("main", layout);
    EXPECT_NEAR(other.at("loss").get<double>(), loss, 1e-6 * loss) << layout.to_string();
    EXPECT_EQ(other.at("tokens"), serial.at("tokens"));
    EXPECT_EQ(other.at("checkpoint"), serial.at("checkpoint"));
  }
}

TEST_F(Versions, generation_repeats_itself) {
  const auto likeliest = generate("--temperature 0");
  EXPECT_EQ(likeliest, generate("--temperature 0 --seed 5"));
  const auto drawn = generate("--seed 1 --top-p 0.95");
  EXPECT_EQ(drawn, generate("--seed 1 --top-p 0.95"));
  EXPECT_NE(drawn, generate("--seed 2 --top-p 0.95"));
  EXPECT_EQ(generate("--top-k 1"), likeliest);
  EXPECT_TRUE(likeliest.starts_with("rank"));
  EXPECT_GT(likeliest.size(), 40u);  // more than one context of 32
}

TEST_F(Versions, inspection_fits_a_screen_and_shows_what_was_not_trained) {
  const std::string branch = at("branch").string();
  run_well("fork " + at("main").string() + "@8 " + branch +
           " --lr-decay-style linear --lr-decay-iters 3");
  expect_screen(run_well("inspect " + branch),
                {"branch, new\n", "step         8 of 11\n", "saved steps  none\n",
                 "linear from 0.001 at step 10 to 0 at step 11"});
  const auto found = nlohmann::json::parse(run_well("inspect " + branch + " --json"));
  EXPECT_EQ(found.at("state"), "new");
  EXPECT_EQ(found.at("step"), 8);
  EXPECT_EQ(found.at("samples"), 48);
  expect_screen(run_well("inspect " + at("main").string() + "@8 --verify"),
                {"step         8; trained to 12\n", "saved steps  4, 8, 12\n", "tokens       1536,",
                 "branches     step 8 for ", "verified     ", " tensors: every checksum holds\n",
                 "parameters   ", "dtype        ", "schedule     warm-up to 0.001 at step 10",
                 "lineage      random start\n"});
  average("4:12:4", "mean");
  expect_screen(run_well("inspect " + at("mean").string()), {"at the steps 4, 8, 12\n"});
}

TEST_F(Versions, are_listed_as_a_tree) {
  run_well("fork " + at("main").string() + "@8 " + at("branch").string());
  train(at("branch"), "--train-iters 10");
  average("4:12:4", "mean");
  const std::string tree = run_well("list " + at("").string());
  const size_t main = tree.find("main "), mean = tree.find("\n  mean "),
               branch = tree.find("\n  @8 branch ");
  EXPECT_TRUE(main == 0 && mean < branch && branch != std::string::npos) << tree;
  const auto rows = nlohmann::json::parse(run_well("list " + at("").string() + " --json"));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].at("step"), 12);
  EXPECT_EQ(rows[0].at("loss"), metrics_of(at("main")).back().at("loss"));
  EXPECT_EQ(rows[1].at("state"), "average");
  EXPECT_TRUE(rows[1].at("loss").is_null());
  EXPECT_EQ(rows[2].at("parent"), rows[0].at("folder"));
  EXPECT_EQ(rows[2].at("origin_steps"), std::vector<int64_t>{8});
}

TEST_F(Versions, inspection_says_what_a_checkpoint_is) {
  run_well("fork " + at("main").string() + "@8 " + at("branch").string());
  train(at("branch"), "--train-iters 10");
  const auto found =
      nlohmann::json::parse(run_well("inspect " + at("branch").string() + " --json --verify"));
  EXPECT_EQ(found.at("step"), 10);
  EXPECT_EQ(found.at("samples"), 60);
  EXPECT_EQ(found.at("loss"), metrics_of(at("branch")).back().at("loss"));
  EXPECT_EQ(found.at("id").get<std::string>().size(), 32u);
  EXPECT_EQ(found.at("specification").at("options").at("lr"), 1e-3);
  EXPECT_EQ(found.at("specification").at("lineage").at(0).at("step"), 8);
  EXPECT_NE(found.at("lineage").get<std::string>().find("../main@8"), std::string::npos);
  bool weight = false, moment = false;
  for (const auto& tensor : found.at("tensors")) {
    const std::string name = tensor.at("name");
    weight = weight || (name == "/model/layers.3.attention.q.weight" &&
                        tensor.at("shape") == std::vector<int64_t>{64, 64});
    moment = moment || name == "/optimizer/exp_avg_sq/layers.3.attention.q.weight";
  }
  EXPECT_TRUE(weight && moment);
}

TEST_F(Versions, compare_tells_where_runs_and_saved_steps_differ) {
  const auto data = at("text").string();
  train(at("again"), tiny_path(data, 6, "--train-iters 12"));
  const auto other = tiny_path(data, 6, "--seed 9 --train-iters 8");
  train(at("other"), other);
  const auto compare = [&](const std::string& a, const std::string& b,
                           const std::string& more = "") {
    return run(words("compare " + at(a).string() + " " + at(b).string() + " " + more));
  };
  EXPECT_EQ(compare("main", "again").exit_code, 0);
  EXPECT_EQ(compare("main@12", "again@12").exit_code, 0);
  const auto runs = compare("main", "other", "--json");
  EXPECT_EQ(runs.exit_code, 4);
  const auto found = nlohmann::json::parse(runs.out);
  EXPECT_EQ(found.at("common"), 8);
  EXPECT_EQ(found.at("only_a"), 4);
  EXPECT_EQ(found.at("differing"), 8);
  EXPECT_EQ(found.at("first").at("step"), 1);
  EXPECT_EQ(found.at("first").at("name"), "loss");
  EXPECT_EQ(compare("main", "other", "--tolerance 1000").exit_code, 0);
  const auto saved = compare("main@8", "other@8", "--json --weights model");
  EXPECT_EQ(saved.exit_code, 4);
  EXPECT_TRUE(nlohmann::json::parse(saved.out).at("unlike").empty());
  expect_refused("compare " + at("main").string() + " " + at("main@4").string(), {"RUN@STEP"});
  expect_refused("compare " + at("main").string() + " " + at("text").string(), {"no path"});
  expect_refused("compare " + at("main").string(), {"A B"});
  expect_refused("compare " + at("main@4").string() + " " + at("main@5").string(), {"step 5"});
  expect_refused("compare " + at("main@4").string() + " " + at("main@8").string() + " --weights x",
                 {"--weights x"});
  expect_refused("compare " + at("main").string() + " " + at("again").string() + " --tolerance -1",
                 {"--tolerance -1"});
}

// No activations of a forward pass over whole samples, nor their tokens.
TEST_F(Versions, generation_holds_weights_and_its_cache_alone) {
  train(at("long"), tiny_path(held_out_, 1, "--seq-length 512 --train-iters 1"));
  GenerationRequest request;
  request.run = at("long");
  request.prompt = "rank";
  request.new_tokens = 4;
  request.run_settings.set_text("device", "cpu");
  const auto options = engine_options(
      RunFolder(at("long")).read(), with_fallbacks(layout_options(), request.run_settings), false);
  switchyard::generate(request, [](const std::string&) {});
  EXPECT_LT(memory_statistics().peak_bytes, plan_memory(options, {}, {}).our_bytes());
}

}  // namespace
}  // namespace switchyard::test
