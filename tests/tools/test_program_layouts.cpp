// The same run in other layouts: losses within 1e-5 and gradient norms within 1e-4 over 100 steps,
// or 40 of other models and ways of exchange, whose sums a single step has all of.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

// Untied, gated, rotated, with half as many key and value heads.
const std::string llama =
    "--num-query-groups 2 --untie-embeddings-and-output-weights --swiglu "
    "--position-embedding-type rope --normalization RMSNorm --disable-bias-linear";
const std::string qwen2 = llama +
                          " --add-qkv-bias --use-rope-scaling --rope-scaling-factor 4 "
                          "--rope-scaling-original-max-position-embeddings 32";
const std::string neox =
    "--parallel-residual --untie-embeddings-and-output-weights --activation gelu-erf "
    "--position-embedding-type rope --rotary-percent 0.25";

std::string name_of(Layout layout) {
  return std::to_string(layout.tp) + "x" + std::to_string(layout.pp) + "x" +
         std::to_string(layout.dp);
}

class Layouts : public ::testing::Test {
 protected:
  void compare(const std::string& options, int global_batch, const std::vector<Layout>& layouts,
               int steps = 40) {
    const std::string all =
        tiny_path(data_, global_batch, options) + " --train-iters " + std::to_string(steps);
    const auto reference = folder_.path() / "reference";
    train(reference, all);
    expect_whole_log(reference, 1, steps);
    for (const auto& layout : layouts) {
      SCOPED_TRACE(layout.to_string());
      const auto run = folder_.path() / name_of(layout);
      train(run, all, layout);
      expect_close_steps(reference, run, 1, steps);
    }
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 100'000);
};

TEST_F(Layouts, agree_over_every_axis) {
  compare("", 6,
          {{.tp = 2}, {.pp = 2}, {.dp = 2}, {.tp = 2, .dp = 2, .pp = 2}, {.pp = 3}, {.tp = 4}},
          100);
}

TEST_F(Layouts, agree_where_batches_do_not_divide) {
  compare("", 5, {{.dp = 2}, {.dp = 4}, {.dp = 2, .pp = 3}, {.tp = 2, .dp = 2}});
}

TEST_F(Layouts, agree_with_exchanges_beside_products) {
  compare("--tp-comm-overlap --tp-comm-chunks 3", 4, {{.tp = 2, .dp = 2}, {.tp = 4}});
}

TEST_F(Layouts, agree_on_llamas) { compare(llama, 4, {{.tp = 2, .pp = 2}, {.dp = 2, .pp = 2}}); }

// 4 query heads over 2 groups. Further layouts are test_shared_keys'.
TEST_F(Layouts, agree_where_ranks_share_keys_and_values) { compare(llama, 4, {{.tp = 4}}); }

TEST_F(Layouts, agree_where_ranks_share_biases_of_keys) { compare(qwen2, 4, {{.tp = 4}}); }

TEST_F(Layouts, agree_on_neox) { compare(neox, 4, {{.tp = 2, .dp = 2}, {.tp = 2, .pp = 4}}); }

// At a rate of 0 every validation of every layout scores the same weights, and so the same loss.
TEST_F(Layouts, validate_on_the_same_sample) {
  const auto other = make_tokens(folder_.path(), "other", 50'000, 2);
  const std::string blend = " 1 " + other + " 3 " + data_;
  const std::string common = " --eval-interval 2 --eval-iters 4 --train-iters ";
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"split", tiny_path(blend, 8, "--lr 0 --split 80,20")},
      {"sets", tiny_path(data_, 8, "--lr 0 --valid-data-path" + blend)}};
  for (const auto& [kind, options] : kinds) {
    const auto serial = folder_.path() / kind, cube = folder_.path() / (kind + "-cube");
    train(serial, options + common + "4");
    train(serial, common + "6" + (kind == "sets" ? " --valid-data-path" + blend : ""));
    train(cube, options + common + "2", {.tp = 2, .dp = 2});
    const auto lines = metrics_of(serial);
    const auto& first = lines[1].at("validation_losses");
    ASSERT_EQ(first.size(), 2u);
    const double text = first.at("text"), others = first.at("other");
    EXPECT_NE(text, others);
    const double mean = lines[1].at("validation_loss");
    EXPECT_NEAR(mean, 0.75 * text + 0.25 * others, 1e-9);
    for (const size_t step : {3u, 5u}) {
      EXPECT_EQ(lines[step].at("validation_losses"), first) << kind << ", step " << step + 1;
      EXPECT_EQ(lines[step].at("validation_loss"), lines[1].at("validation_loss"));
    }
    EXPECT_FALSE(lines[2].contains("validation_loss"));
    EXPECT_NEAR(metrics_of(cube)[1].at("validation_loss"), mean, 1e-5 * mean);
  }
}

// One rank of three is given the sets under another name, with an index that holds nothing true
// behind its header, and goes on by what the first one has found.
TEST_F(Layouts, check_a_set_on_one_rank_of_a_machine) {
  const auto valid = make_tokens(folder_.path(), "valid", 20'000, 2);
  const auto unread = (folder_.path() / "unread").string();
  for (const char* ending : {".bin", ".idx", ".json"}) {
    fs::copy_file(valid + ending, unread + ending);
  }
  std::fstream(unread + ".idx", std::ios::binary | std::ios::in | std::ios::out).seekp(34)
      << "\xff\xff\xff\x7f";
  const auto on_three_ranks = [&](const std::string& line) {
    auto all = words(line + valid);
    for (const auto& word : {":", "-np", "1", SWITCHYARD_PROGRAM}) all.emplace_back(word);
    for (const auto& word : words(line + unread)) all.push_back(word);
    const auto outcome = run(all, 2);
    EXPECT_EQ(outcome.exit_code, 0) << line << "\n" << outcome.err;
    return outcome.out;
  };
  const auto path = folder_.path() / "path", reference = folder_.path() / "reference";
  const std::string options = tiny_path(data_, 6, "--eval-interval 2 --eval-iters 2") +
                              " --train-iters 2 --valid-data-path ";
  on_three_ranks("train " + path.string() + " " + options);
  run_well("train " + reference.string() + " " + options + valid, 3);
  EXPECT_EQ(metrics_of(path).at(1).at("validation_losses"),
            metrics_of(reference).at(1).at("validation_losses"));
  const std::string eval = "eval " + path.string() + " --json --data-path ";
  EXPECT_EQ(on_three_ranks(eval), run_well(eval + valid, 3));
  EXPECT_EQ(run(words(eval + unread), 2).exit_code, 2);
}

TEST_F(Layouts, do_not_depend_on_the_micro_batch) {
  const std::string all = tiny_path(data_, 6) + " --train-iters 30";
  const auto reference = folder_.path() / "reference", run = folder_.path() / "run";
  train(reference, all);
  train(run, all + " --micro-batch-size 3", {.pp = 2});
  expect_close_steps(reference, run, 1, 30);
}

}  // namespace
}  // namespace switchyard::test
