// Paths that are there: contradicted, forked from nowhere, held.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "launch/path/file_lock.h"
#include "tests/tools/bad_paths.h"
#include "tests/tools/paths.h"
#include "tests/tools/program.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

TEST_F(BadPaths, ContradictionsNameBothValues) {
  refuse_resume("--num-layers 4", {"--num-layers 4", "made with 2"});
  refuse_resume("--hidden-dropout 0.1", {"--hidden-dropout 0.1", "made with 0"});
  refuse_resume("--normalization RMSNorm", {"RMSNorm", "LayerNorm"});
  refuse_resume("--swiglu", {"swiglu", "gelu-tanh"});
  refuse_resume("--preset gpt2-tiny", {"made with"});
  refuse_resume("--vocab-size 300", {"--vocab-size 300", "257"});
  refuse_resume("--lr 2e-3", {"--lr 0.002", "made with 0.001"});
  refuse_resume("--lr-decay-style linear", {"linear", "constant"});
  refuse_resume("--lr-decay-iters 5", {"--lr-decay-iters 5", "none"});
  refuse_resume("--global-batch-size 8", {"--global-batch-size 8", "made with 4"});
  refuse_resume("--seq-length 32", {"--seq-length 32", "made with 16"});
  refuse_resume("--seed 5", {"--seed 5", "made with 1234"});
  refuse_resume("--split 9,1", {"--split 9,1", "made with 1"});
  refuse_resume("--bf16", {"--bf16 true", "none"});
  refuse_resume("--data-path " + folder.at("b"), {folder.at("b"), folder.at("a"), "identity"});
  refuse_resume("--load-step 3", {"step 3", "nearest", "4"});
  refuse_resume("--train-iters 6 --tensorboard " + folder.at("a.bin"), {"a.bin", "not a folder"},
                5);
  run_well(folder.train("main"));  // what it was made with
}

TEST_F(BadPaths, NoNewPathOverWhatALostOneLeft) {
  fs::remove(main() + "/path.json");
  refuse(folder.train("main"), {"no path.json", "checkpoints", "folder of its own"});
  fs::remove_all(main() + "/checkpoints");
  refuse(folder.train("main"), {"no path.json", "metrics.jsonl"});
  fs::remove(main() + "/metrics.jsonl");
  EXPECT_TRUE(fs::exists(main() + "/starts.jsonl"));
  const auto outcome = run(words(folder.train("main")));  // with none of the lost one's options
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, testing::Not(testing::HasSubstr("as before")));
}

TEST_F(BadPaths, NoNewPathInAFolderOfOtherThings) {
  fs::create_directories(folder.at("house/.git"));
  refuse(folder.train("house"), {"house' has no path.json and holds .git, as a checkout does",
                                 folder.at("house/run") + "' is allowed"});
  EXPECT_FALSE(fs::exists(folder.at("house/path.json")));
  fs::remove(folder.at("house/.git"));
  run_well(folder.train("house"));
}

TEST_F(BadPaths, AFileIsNoFolder) {
  std::ofstream(folder.at("file")) << "text";
  const std::string said = "'" + folder.at("file") + "' is a file";
  for (const std::string run : {"file", "file/below/it"})
    refuse(folder.train(run), {folder.at(run) + "' cannot be a folder", said});
  EXPECT_EQ(fs::file_size(folder.at("file")), 4u);
}

TEST_F(BadPaths, ALinkToNothingIsNoFolder) {
  fs::create_symlink("nowhere", folder.at("link"));
  const auto outcome = run(words(folder.train("link")));
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, testing::HasSubstr("link is a link to nowhere, which is not there"));
}

TEST_F(BadPaths, NoNewFolderIsNamedLikeAStep) {
  const Parts step = {"main@2", "step of", "--load-step"};
  refuse(folder.train("main@2"), step);
  refuse("fork " + main() + "@4 " + main() + "@2", step);
  refuse("average " + main() + " --steps 2:4:2 --output " + main() + "@2/", step);
  refuse(folder.train("a@b"), {"a@b", "'@'"});
  EXPECT_FALSE(fs::exists(folder.at("main@2")) || fs::exists(folder.at("a@b")));
  run_well(folder.train("me@host/run"));
  run_well("eval " + folder.at("me@host/run") + " --data-path " + folder.at("b"));
  fs::rename(folder.at("me@host/run"), folder.at("old@2"));  // made by an earlier version
  run_well("train " + folder.at("old@2") + " --train-iters 3");
}

TEST_F(BadPaths, ForksOfNothing) {
  refuse_fork("main@9", "", {"step 9", "has not been made", "its last is 4"});
  refuse_fork("main", "", {"MAIN@STEP"});
  refuse_fork("main@x", "", {"RUN@STEP"});
  refuse_fork("none@4", "", {"no path", "none"});
  refuse_fork("main@4", "--num-layers 4", {"--num-layers 4", "parent has 2"});
  refuse_fork("main@4", "--vocab-size 300", {"--vocab-size 300", "257"});
  refuse_fork("main@4", "--bf16", {"--bf16"});
  refuse_fork("main@4", "--lr-decay-style cosine", {"cosine", "--lr-decay-iters"});
  refuse_fork("main@4", "--lr-decay-style cosine --lr-decay-iters 0",
              {"--lr-decay-iters 0; at least 1"});
  refuse_fork("main@4", "--data-path " + folder.at("none"), {"none.idx"});
  refuse_fork("main@4", "--tp 2", {"--tp"});
  refuse("fork " + main() + "@4 " + main(), {"exists already", "random start", "step 4"});
  std::ofstream(folder.at("file")) << "text";
  refuse("fork " + main() + "@4 " + folder.at("file"), {"file' exists already"});
  refuse("fork " + main() + "@4 " + folder.at("file/below"), {"cannot be made"}, 5);
}

// A step that goes while a fork waits to pin it is not promised to the branch.
TEST_F(BadPaths, AForkWaitsForADeletion) {
  auto lock = std::make_unique<FileLock>(fs::path(main()) / "pins.lock");
  Program fork({"fork", main() + "@2", folder.at("branch")});
  const auto waits = [&] { return fs::exists(folder.at("branch") + "/lock"); };
  ASSERT_TRUE(wait_until(waits, 20));
  fs::remove_all(fs::path(master(2)).parent_path());
  EXPECT_TRUE(fork.running());
  lock.reset();
  const auto outcome = fork.wait();
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, testing::HasSubstr("step 2 of"));
  EXPECT_FALSE(fs::exists(folder.at("branch")));
}

TEST_F(BadPaths, TwoForksOfOneNameAtOnce) {
  for (const bool same : {true, false}) {
    for (int i = 0; i < 8; ++i) {
      const std::string branch = folder.at((same ? "same-" : "other-") + std::to_string(i));
      Program first({"fork", main() + "@2", branch, "--lr", "1e-4"});
      Program second({"fork", main() + (same ? "@2" : "@4"), branch, "--lr", "1e-4"});
      const Outcome one = first.wait(), two = second.wait();
      EXPECT_EQ(one.exit_code + two.exit_code, same ? 0 : 2) << one.err << two.err;
      EXPECT_TRUE(fs::exists(branch + "/path.json"));
      const auto pins = fs::directory_iterator(main() + "/pins");
      const auto names = [&](const fs::path& pin) {
        return pin.filename().string().find(fs::path(branch).filename()) != std::string::npos;
      };
      EXPECT_EQ(std::count_if(begin(pins), end(pins), names), 1) << branch;
    }
  }
}

TEST_F(BadPaths, StepsAndNamesThatCannotBeWritten) {
  const std::string data = " --data-path " + folder.at("b");
  refuse("extend " + main() + " --at-step 4611686018427388004" + data, {"more tokens than"});
  refuse_resume("--train-iters 4611686018427388004", {"4611686018427388004", "at most"});
  refuse_fork("main@4", "--data-path " + folder.at("caf\xe9"), {"not UTF-8"});
  refuse("fork " + main() + "@4 " + folder.at("caf\xe9"), {"not UTF-8"});
  refuse("fork " + main() + "@4 " + main() + "/checkpoints/step-00000006", {"keeps what is"});
}

TEST_F(BadPaths, AForkOverAnotherBranchNamesTheDifference) {
  const std::string fork = "fork " + main() + "@4 " + folder.at("branch") + " ";
  run_well(fork + "--weight-decay 0.5");
  const auto refuse_other = [&](const std::string& line, const Parts& parts) {
    const auto before = folder.contents("branch");
    refuse(line, parts);
    EXPECT_TRUE(folder.contents("branch") == before) << line;
  };
  refuse_other(fork + "--weight-decay 0.25", {"exists already", "--weight-decay 0.5", "0.25"});
  refuse_other(fork, {"--weight-decay 0.5", "0.01"});
  refuse_other(fork + "--weight-decay 0.5 --data-path " + folder.at("b"), {"--data-path", "b"});
  refuse_other("fork " + main() + "@2 " + folder.at("branch") + " --weight-decay 0.5",
               {"step 4 of", "step 2 of"});
  run_well(fork + "--weight-decay 0.5");
}

TEST_F(BadPaths, AnUntrainedPathIsMadeAnew) {
  const std::string other = folder.at("other");
  const std::string anew = folder.train("other", {{"lr", "2e-3"}, {"data-path", folder.at("b")}});
  fs::create_directory(other);
  fs::copy(main() + "/path.json", other);
  expect_refused("train " + other + " --lr 2e-3", {"--lr 0.002", "made with 0.001"});
  expect_refused(anew + " --load-step 2", {"made with 0.001"});
  const auto made = run(words(anew));
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, testing::HasSubstr("made anew: it was made with --lr 0.001, not 0.002"));
  expect_refused(folder.train("other"), {"--lr 0.001", "made with 0.002"});  // has steps now
  run_well("fork " + main() + "@4 " + folder.at("branch"));
  expect_refused(folder.train("branch", {{"lr", "2e-3"}}), {"made with 0.001"});  // fork wrote it
}

TEST_F(BadPaths, ExtensionsAndAverages) {
  refuse("extend " + main() + " --at-step 2 --data-path " + folder.at("b"), {"--at-step 2", "4"});
  refuse("extend " + main() + " --at-step 4 --data-path " + folder.at("none"), {"none.idx"});
  refuse("extend " + main() + " --at-step 4", {"--data-path"});
  run_well("fork " + main() + "@4 " + folder.at("decay") +
           " --lr-decay-style linear --lr-decay-iters 6");
  for (const char* step : {"10", "11"}) {
    expect_refused(
        "extend " + folder.at("decay") + " --at-step " + step + " --data-path " + folder.at("b"),
        {std::string("--at-step ") + step, "ends at step 10", "never read"});
  }
  run_well("extend " + folder.at("decay") + " --at-step 9 --data-path " + folder.at("b"));
  const auto average = [&](const std::string& steps, const Parts& parts) {
    refuse("average " + main() + " --steps " + steps + " --output " + folder.at("mean"), parts);
    EXPECT_FALSE(fs::exists(folder.at("mean")));
  };
  average("2:6:2", {"step 6", "nearest saved step is 4"});
  average("2:4", {"A:B:EVERY"});
  average("4:2:1", {"A not above B"});
  average("1:9000000000000000000:1", {"9000000000000000000 steps"});
  run_well("average " + main() + " --steps 2:4:2 --output " + folder.at("mean"));
  refuse("train " + folder.at("mean"), {"average"});
  refuse("fork " + folder.at("mean") + "@3 " + folder.at("x"), {"step 3", "is 4"});
  refuse("fork " + main() + "@4 " + folder.at("x") + " --moments fresh", {"over an average"});
}

// Given again at any later step they are so already; with other words they are refused.
TEST_F(BadPaths, ExtensionsAndAveragesGivenAgain) {
  const auto extend = [&](int step, const char* data) {
    return "extend " + main() + " --at-step " + std::to_string(step) + " --data-path " +
           folder.at(data);
  };
  const std::string average = "average " + main() + " --output " + folder.at("mean") + " --steps ";
  const auto is_so = [&](const std::string& line) {
    const auto before = folder.contents("");
    const auto outcome = run(words(line));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, testing::HasSubstr("already")) << line;
    EXPECT_TRUE(folder.contents("") == before) << line;
  };
  run_well(extend(4, "b"));
  is_so(extend(4, "b"));
  refuse(extend(4, "a"), {"--at-step 4", "a stage of data begins"});
  run_well("train " + main() + " --train-iters 6");
  run_well(extend(6, "a"));
  run_well(average + "2,4");
  run_well("train " + main() + " --train-iters 8");
  for (const auto& line : {extend(4, "b"), extend(6, "a"), average + "2,4"}) is_so(line);
  refuse(extend(4, "a"), {"--at-step 4"});
  refuse(extend(6, "b"), {"--at-step 6"});
  refuse(average + "4,6", {"already, of the steps 2, 4", "4, 6"});
  refuse(average + "2,4 --weights-of 1-sqrt", {"--weights-of uniform", "1-sqrt"});
}

// What is killed in the middle of it is made by the same words again.
TEST_F(BadPaths, ForksExtensionsAndAveragesThatAreKilled) {
  const std::string specification = main() + "/path.json";
  fs::copy_file(specification, folder.at("before"));
  const std::vector<std::string> lines = {
      "fork " + main() + "@2 " + folder.at("branch") + " --lr 1e-4",
      "extend " + main() + " --at-step 4 --data-path " + folder.at("b"),
      "average " + main() + " --steps 2,4 --output " + folder.at("mean")};
  for (int milliseconds = 4; milliseconds <= 40; milliseconds += 4) {
    for (const auto& line : lines) {
      Program program(words(line));
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
      kill(program.pid(), SIGKILL);
      program.wait();
      run_well(line);
      EXPECT_THAT(run(words(line)).err, testing::HasSubstr("already")) << line;
    }
    run_well("inspect " + main());
    fs::remove_all(folder.at("branch"));
    fs::remove_all(folder.at("mean"));
    fs::copy_file(folder.at("before"), specification, fs::copy_options::overwrite_existing);
  }
}

TEST_F(BadPaths, SpecificationsThatCannotBeRead) {
  const std::string file = main() + "/path.json";
  for (const char* text :
       {"", "{", "{\"format_version\": 1}", "{\"format_version\": 99}", "{\"format\": 99}"}) {
    std::ofstream(file) << text;
    const bool newer = std::string(text).find("99") != std::string::npos;  // not damaged
    const Parts parts = {"[path]", newer ? "format 99" : "path.json cannot be read"};
    refuse("train " + main(), parts, newer ? 2 : 5);
    refuse("eval " + main() + " --data-path " + folder.at("b"), parts, newer ? 2 : 5);
  }
}

TEST_F(BadPaths, ALockThatCannotBeOpenedIsOfStorage) {
  fs::remove(main() + "/lock");
  fs::create_directory(main() + "/lock");
  refuse("train " + main(), {"lock cannot be opened"}, 5);
}

TEST_F(BadPaths, StepZeroIsTheRandomStart) {
  refuse_resume("--load-step 0", {"--load-step 0", "0 is the random start", "'fork RUN@0 NEW'"});
  const auto score = run({"eval", main() + "@0", "--data-path", folder.at("b")});
  EXPECT_EQ(score.exit_code, 0) << score.err;
  EXPECT_NE(score.out.find("step 0: loss 5."), std::string::npos) << score.out;
  run_well("fork " + main() + "@0 " + folder.at("again"));
  EXPECT_THAT(run_well("inspect " + main()),
              testing::HasSubstr("step 0 for " + folder.at("again")));
}

TEST_F(BadPaths, AFolderNamedLikeAStepIsSaid) {
  const std::string old = folder.at("old@4");
  fs::rename(main(), old);
  const std::string data = " --data-path " + folder.at("b");
  expect_refused("eval " + old + data, {"is a folder", old + "/'", old + "@STEP"});
  EXPECT_EQ(run(words("eval " + old + "/" + data)).exit_code, 0);
  EXPECT_EQ(run(words("eval " + old + "@4" + data)).exit_code, 0);
  fs::rename(old, main());
}

TEST_F(BadPaths, Generation) {
  const std::string generate = "generate " + main() + " --max-new-tokens 4 --prompt the ";
  refuse(generate + "--top-p 0", {"top-p is 0"});
  refuse(generate + "--top-k -1", {"top-k is -1"});
  refuse(generate + "--temperature -1", {"temperature is -1"});
  refuse(generate + "--seed -1", {"--seed -1"});
  refuse("generate " + main(), {"--prompt"});
  refuse("generate " + folder.at("none") + " --prompt the", {"no path", "none"});
  EXPECT_EQ(run(words(generate + "--top-p 0")).out, "");
  EXPECT_EQ(run({"generate", main(), "--max-new-tokens", "4", "--prompt", ""}).exit_code, 0);
  const auto longer = run({"generate", main(), "--prompt", std::string(40, 'a')});
  EXPECT_EQ(longer.exit_code, 0) << longer.err;
  EXPECT_THAT(longer.err, testing::HasSubstr("has 40 tokens and the context 16"));
}

// A hardly trained model with tokens that its tokenizer lacks, sampled nearly uniformly.
TEST_F(BadPaths, GenerationKeepsToTheTokenizersTokens) {
  run_well(folder.train("large", {}, "--vocab-size 5000"));
  const Parts line = {
      "generate", folder.at("large"), "--prompt", "a\u00e9",         "--temperature",
      "2",        "--seed",           "3",        "--max-new-tokens"};
  const auto with = [&](const std::string& tokens, const Parts& more) {
    Parts all = line;
    all.push_back(tokens);
    all.insert(all.end(), more.begin(), more.end());
    const auto outcome = run(all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const auto found = nlohmann::json::parse(with("100", {"--json"}));
  std::string bytes;
  for (const int id : found.at("ids")) {
    EXPECT_LT(id, 256);
    bytes.push_back(static_cast<char>(id));
  }
  EXPECT_GT(bytes.size(), 4u);
  const std::string plain = with("100", {});
  EXPECT_TRUE(("a\u00e9" + bytes).starts_with(plain.substr(0, plain.size() - 1)));
  // The text is that of the ids: each byte that is no part of a character shows as U+FFFD.
  EXPECT_EQ(
      found.at("text"),
      nlohmann::json::parse(nlohmann::json(plain.substr(3, plain.size() - 4))
                                .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
}

TEST_F(BadPaths, ASecondTrainerIsRefusedAndTheFirstGoesOn) {
  Program first(words("train " + main() + " --train-iters 100000000 --log-interval 1000"));
  while (first.running() && metrics_of(main()).size() < 6) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const std::string holder = "process " + std::to_string(first.pid());
  expect_refused("train " + main(), {main(), holder});
  expect_refused("extend " + main() + " --at-step 99999999 --data-path " + folder.at("b"),
                 {holder});
  ASSERT_TRUE(first.running());
  kill(first.pid(), SIGUSR1);
  EXPECT_EQ(first.wait().exit_code, 75);
  run_well("eval " + main() + " --data-path " + folder.at("b"));
}

}  // namespace
}  // namespace switchyard::test
