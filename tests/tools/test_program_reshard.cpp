// Saved steps in other files, as a user makes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>

#include <fstream>

#include "core/error.h"
#include "launch/reshard/reshard.h"
#include "parallel/checkpoint/index.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Reshard : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  void make_main(int64_t last, const std::string& more, Layout layout = {}) const {
    train(at("main"),
          tiny_path(data_, 8,
                    "--num-layers 2 --hidden-size 32 --num-attention-heads 2 "
                    "--micro-batch-size 2 --save-interval 2 " +
                        more + " --train-iters ") +
              std::to_string(last),
          layout);
  }
  void go_on(const std::string& name, int64_t last, Layout layout = {}) const {
    train(at(name), "--micro-batch-size 2 --train-iters " + std::to_string(last), layout);
  }
  // The options behind "reshard"; what is refused leaves nothing.
  void refuse(const std::string& options, const std::vector<std::string>& parts, int code = 2) {
    const auto before = names();
    const auto outcome = run(words("reshard " + options));
    EXPECT_EQ(outcome.exit_code, code) << options << outcome.err;
    for (const auto& part : parts) EXPECT_THAT(outcome.err, HasSubstr(part)) << options;
    EXPECT_EQ(names(), before) << options;
  }
  void expect_already(const std::string& options) {
    const auto outcome = run(words("reshard " + options));
    EXPECT_EQ(outcome.exit_code, 0) << options << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("is already"), HasSubstr("'switchyard verify "),
                                   HasSubstr("reads its bytes")))
        << options;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      all.push_back(entry.path().filename());
    std::ranges::sort(all);
    return all;
  }
  int64_t files(const std::string& name, int64_t step) const {
    return std::distance(fs::directory_iterator(checkpoint_of(at(name), step) / "shards"), {});
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 40'000);
};

// Its bits, its log and its training are the step's, with the run and its parents away.
TEST_F(Reshard, TrainingGoesOnBitForBitFromAnyNumberOfFiles) {
  const Layout layout{.tp = 2, .dp = 2, .pp = 2};
  make_main(4, "--bf16 --average ema:beta=0.5,every=1", layout);
  for (const int writers : {1, 2, 5}) {
    const auto to = at("carried " + std::to_string(writers) + " \u00e4");
    const auto made = run({"reshard", at("main") + "@2", to, "--writers", std::to_string(writers)});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_EQ(files(to, 2), 2 * writers);
    expect_same_tensors(checkpoint_of(at("main"), 2), checkpoint_of(to, 2));
    EXPECT_EQ(run({"verify", to}).exit_code, 0);
    EXPECT_EQ(metrics_of(to).size(), 2u);
  }
  fs::rename(at("main"), at("away"));
  fs::rename(at("carried 5 \u00e4"), at("carried"));
  go_on("carried", 4, layout);
  expect_same_steps(at("away"), at("carried"), 1, 4);
  expect_same_tensors(checkpoint_of(at("away"), 4), checkpoint_of(at("carried"), 4));
  run_well("replay " + at("carried") + "@3:4 --tp 2 --pp 2 --micro-batch-size 2", 8);
}

// The byte in the middle of the largest file of a step, which is one of its tensors' chunks.
fs::path flip_in_the_largest(const fs::path& step) {
  fs::path largest;
  for (const auto& entry : fs::directory_iterator(step / "shards"))
    if (largest.empty() || entry.file_size() > fs::file_size(largest)) largest = entry.path();
  std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
  const auto middle = static_cast<std::streamoff>(fs::file_size(largest) / 2);
  file.seekg(middle);
  const int byte = file.get();
  file.seekp(middle);
  file.put(static_cast<char>(byte ^ 1));
  return largest;
}

TEST_F(Reshard, CompressedItIsSmallerAndTrainingGoesOnBitForBit) {
  const Layout layout{.tp = 2, .dp = 2};
  make_main(4, "--bf16", layout);
  run_well("reshard " + at("main") + "@2 " + at("small") + " --compress --writers 2");
  run_well("reshard " + at("main") + "@2 " + at("plain") + " --writers 2");
  const auto bytes = [&](const std::string& name) {
    return CheckpointReader(checkpoint_of(at(name), 2)).bytes();
  };
  EXPECT_LT(bytes("small"), bytes("plain"));
  EXPECT_EQ(CheckpointReader(checkpoint_of(at("small"), 2)).info().format_version, 3);
  EXPECT_EQ(CheckpointReader(checkpoint_of(at("plain"), 2)).info().format_version, 2);
  expect_same_tensors(checkpoint_of(at("main"), 2), checkpoint_of(at("small"), 2));
  run_well("verify " + at("small"));
  run_well("inspect " + at("small") + " --full");
  run_well("reshard " + at("small") + " " + at("again") + " --writers 3");
  expect_same_tensors(checkpoint_of(at("main"), 2), checkpoint_of(at("again"), 2));
  run_well("reshard " + at("small") + " " + at("smaller") + " --compress --weights-only");
  run_well("verify " + at("smaller"));
  go_on("small", 4, layout);
  expect_same_steps(at("main"), at("small"), 3, 4);
  expect_same_tensors(checkpoint_of(at("main"), 4), checkpoint_of(at("small"), 4));
}

TEST_F(Reshard, AChangedBitInACompressedChunkIsFoundByName) {
  make_main(2, "");
  run_well("reshard " + at("main") + " " + at("small") + " --compress");
  const auto shard = flip_in_the_largest(checkpoint_of(at("small"), 2));
  for (const std::string& line :
       {"verify " + at("small"), "train " + at("small") + " --train-iters 3",
        "reshard " + at("small") + " " + at("new")}) {
    const auto outcome = run(words(line));
    EXPECT_EQ(outcome.exit_code, 5) << line << outcome.err;
    const std::string said = outcome.out + outcome.err;
    EXPECT_THAT(said,
                AllOf(HasSubstr(shard.string()), HasSubstr("damaged"), HasSubstr("dataset /")))
        << line;
  }
  EXPECT_FALSE(fs::exists(at("new")));
}

// A lawa's members that are saved steps of the path go into the new files.
TEST_F(Reshard, MembersOfAveragesComeAlong) {
  make_main(6, "--average lawa:k=3,every=2");
  run_well("reshard " + at("main") + "@4 " + at("carried") + " --writers 2");
  const auto there = tensors_of(checkpoint_of(at("carried"), 4));
  const auto member = tensors_of(checkpoint_of(at("main"), 2));
  const std::string weight = "layers.0.mlp.up.weight";
  EXPECT_TRUE(there.at("/average/lawa/member-2/" + weight) ==
              member.at("/optimizer/master/" + weight));
  fs::rename(at("main"), at("away"));
  go_on("carried", 6);
  const auto theirs = tensors_of(checkpoint_of(at("away"), 6));
  for (const auto& [name, bytes] : theirs)
    EXPECT_TRUE(tensors_of(checkpoint_of(at("carried"), 6)).at(name) == bytes) << name;
  fs::remove_all(checkpoint_of(at("away"), 2));
  refuse(at("away") + "@4 " + at("late"), {"step 2", "--weights-only is allowed"});
  run_well("reshard " + at("away") + "@4 " + at("late") + " --weights-only");
}

TEST_F(Reshard, ABranchNeedsItsParentNoMore) {
  make_main(4, "");
  run_well("fork " + at("main") + "@2 " + at("branch") + " --seed 7");
  run_well("fork " + at("main") + "@2 " + at("plain") + " --seed 7");
  run_well("reshard " + at("branch") + " " + at("detached") + " --writers 3");
  expect_same_tensors(checkpoint_of(at("main"), 2), checkpoint_of(at("detached"), 2));
  EXPECT_FALSE(fs::exists(at("branch") + "/checkpoints"));
  go_on("plain", 5);
  run_well("reshard " + at("plain") + "@5 " + at("later"));
  fs::create_directories(at("x/y/z"));
  for (const char* name : {"main", "branch", "plain"}) fs::rename(at(name), at("x/y/z/") + name);
  go_on("detached", 5);
  expect_same_steps(at("x/y/z/plain"), at("detached"), 3, 5);
  expect_same_tensors(checkpoint_of(at("x/y/z/plain"), 5), checkpoint_of(at("detached"), 5));
  go_on("later", 6);
  run_well("verify " + at("later"));
}

TEST_F(Reshard, WeightsAloneAreScoredForkedAndConverted) {
  make_main(4, "--bf16 --keep-moments 1");
  const std::string weights = at("main") + "@2 " + at("f32") + " --weights-only";
  refuse(at("main") + "@2 " + at("f32"), {"step 2", "no moments"});
  run_well("reshard " + weights + " --writers 2");
  run_well("reshard " + at("main") + "@2 " + at("bf16") + " --weights-only --dtype bf16");
  EXPECT_EQ(files("f32", 2), 2);
  EXPECT_EQ(files("bf16", 2), 1);
  const auto from = tensors_of(checkpoint_of(at("main"), 2));
  const std::string weight = "layers.0.mlp.up.weight";
  const auto f32 = tensors_of(checkpoint_of(at("f32"), 2));
  const auto bf16 = tensors_of(checkpoint_of(at("bf16"), 2));
  EXPECT_TRUE(f32.at("/model/" + weight) == from.at("/optimizer/master/" + weight));
  EXPECT_TRUE(bf16.at("/model/" + weight) == from.at("/model/" + weight));
  for (const auto& [name, bytes] : f32) EXPECT_TRUE(name.starts_with("/model/")) << name;
  const std::string on = " --data-path " + data_ + " --micro-batch-size 4";
  const auto score = [&](const std::string& what) {
    return nlohmann::json::parse(run_well("eval " + what + on + " --json")).at("loss");
  };
  EXPECT_EQ(score(at("bf16")), score(at("main") + "@2"));
  EXPECT_EQ(score(at("f32")), score(at("main") + "@2"));
  for (const char* name : {"f32", "bf16"}) {
    const auto refused = run({"train", at(name)});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err, HasSubstr("'fork " + at(name) + " NEW'"));
    run_well("verify " + at(name));
    run_well("inspect " + at(name) + " --full");
    run_well("generate " + at(name) + " --prompt x --max-new-tokens 3");
    run_well("convert --from " + at(name) + " --to " + at(name) + "-hf");
    run_well("fork " + at(name) + " " + at(name) + "-branch --moments fresh --lr 1e-3");
    go_on(std::string(name) + "-branch", 3);
    // And again, from weights alone.
    run_well("reshard " + at(name) + " " + at(name) + "-again --writers 3");
    expect_same_tensors(checkpoint_of(at(name), 2), checkpoint_of(at(name) + "-again", 2));
  }
}

TEST_F(Reshard, WhatMakesNoSenseIsRefusedAndLeavesNothing) {
  make_main(2, "");
  const std::string main = at("main"), made = main + "@2 " + at("new");
  refuse(made + " --dtype bf16", {"--dtype bf16", "--weights-only"});
  refuse(made + " --writers 0", {"--writers 0"});
  refuse(made + " --weights-only --dtype f16", {"--dtype f16", "bf16"});
  refuse(made + " --memory-gib 0.01", {"--memory-gib 0.01"});
  refuse(main + "@1 " + at("new"), {"step 1", "not saved", "is 2"});
  refuse(main + "@2 " + main, {"exists already"});
  refuse(main + "@2 " + main + "/inside", {"lies in", main});
  refuse(main + "@2 " + main + "/checkpoints/x", {"keeps what is its own"});
  refuse(main + "@2", {"NEW"});
  refuse(at("none") + " " + at("new"), {at("none")});
  refuse(main + " /proc/new", {"/proc/new"}, 5);
  run_well("fork " + main + "@2 " + at("branch"));
  run_well("fork " + main + "@1 " + at("unsaved"));
  refuse(at("unsaved") + " " + at("new"), {"'train " + at("unsaved") + "' comes first"});
}

// A script that is run again finds what it made, and hears of what is something else.
TEST_F(Reshard, TheSameCommandAgainFindsWhatItMade) {
  make_main(4, "");
  const std::string made = at("main") + "@2 " + at("new");
  const auto again = [&](const std::string& options) {
    const auto written = fs::last_write_time(checkpoint_of(at("new"), 2) / "checkpoint.h5");
    expect_already(options);
    EXPECT_EQ(fs::last_write_time(checkpoint_of(at("new"), 2) / "checkpoint.h5"), written);
  };
  run_well("reshard " + made + " --writers 2");
  again(made + " --writers 2");
  refuse(made, {"exists already", "--writers 2; --writers 1 was asked for"});
  refuse(made + " --writers 2 --weights-only", {"exists already", "--weights-only"});
  refuse(at("main") + " " + at("new") + " --writers 2", {"exists already"});
  run_well("reshard " + at("new") + " " + at("next"));
  refuse(at("main") + "@2 " + at("next"), {"exists already, of step 2 of '" + at("new")});
  go_on("new", 4);  // training does not undo it
  again(made + " --writers 2");
  fs::remove_all(checkpoint_of(at("main"), 2));
  again(made + " --writers 2");
  refuse(at("next") + "@3 " + at("new"), {"exists already"});
  for (const std::string options : {"--weights-only --dtype bf16", "--compress"}) {
    const std::string line = at("main") + "@4 " + at("with" + options.substr(0, 4)) + " " + options;
    run_well("reshard " + line);
    expect_already(line);
  }
}

TEST_F(Reshard, WhatAKilledOneLeftIsReplaced) {
  make_main(2, "");
  const std::string line = "reshard " + at("main") + " " + at("new");
  Program program(words(line), 1, "LD_PRELOAD=" SWITCHYARD_SLOW_DISK " SLOW_DISK_MILLISECONDS=100");
  const auto step = checkpoint_of(at(".new.unfinished"), 2);
  ASSERT_TRUE(wait_until([&] { return fs::exists(step / "shards"); }, 60));
  kill(program.pid(), SIGKILL);
  program.wait();
  EXPECT_TRUE(fs::exists(at(".new.unfinished")));
  EXPECT_FALSE(fs::exists(at("new")));
  run_well(line);
  expect_same_tensors(checkpoint_of(at("main"), 2), checkpoint_of(at("new"), 2));
  EXPECT_FALSE(fs::exists(at(".new.unfinished")));
}

// A file costs a disk about as much whatever is in it.
TEST_F(Reshard, MoreFilesThanAreOfUseAreNotMade) {
  make_main(2, "");
  const auto made = run(words("reshard " + at("main") + " " + at("new") + " --writers 5000"));
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out + made.err, HasSubstr("--writers 5000: "));
  EXPECT_LE(files("new", 2), 2 * CheckpointReader(checkpoint_of(at("main"), 2)).bytes() / 4096);
  expect_same_tensors(checkpoint_of(at("main"), 2), checkpoint_of(at("new"), 2));
  run_well("verify " + at("new"));
}

TEST_F(Reshard, ADamagedSourceIsNamedAndNothingIsLeft) {
  make_main(2, "", {.dp = 2});
  const auto folder = checkpoint_of(at("main"), 2);
  const std::string name = "/model/layers.0.mlp.up.weight";
  fs::path shard;
  {
    const CheckpointReader reader(folder);
    const auto& all = reader.index().tensors;
    const auto entry = std::ranges::find(all, name, [](const auto& e) { return e.tensor.name; });
    ASSERT_NE(entry, all.end());
    const StoredPiece& piece = entry->pieces.back();
    const int rank = reader.index().shards[static_cast<size_t>(piece.shard)].rank;
    shard = folder / "shards" / ("rank-0000" + std::to_string(rank) + ".h5");
    std::fstream stream(shard, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(piece.address);
    const int byte = stream.get();
    stream.seekp(piece.address);
    stream.put(static_cast<char>(byte ^ 1));
  }
  refuse(at("main") + " " + at("new"), {shard.string(), "damaged", name, "main@2"}, 5);
}

TEST_F(Reshard, AFullDiskLeavesNothing) {
  make_main(2, "");
  fs::create_directory(at("disk"));
  if (mount("tmpfs", at("disk").c_str(), "tmpfs", 0, "size=300k") != 0)
    GTEST_SKIP() << "mounting a small disk needs root";
  for (const bool compresses : {false, true}) {
    std::vector<std::string> line = {"reshard", at("main"), at("disk/new")};
    if (compresses) line.emplace_back("--compress");
    const auto outcome = run(line);
    EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("No space left"));
    EXPECT_THAT(outcome.err, HasSubstr("shards/rank-00000.")) << outcome.err;
    EXPECT_TRUE(fs::is_empty(at("disk")));
  }
  umount2(at("disk").c_str(), MNT_DETACH);
}

// Its 40 writers wait for a slow disk meanwhile.
TEST_F(Reshard, ASignalLeavesNothing) {
  make_main(2, "");
  const auto before = names();
  Program program(words("reshard " + at("main") + " " + at("new") + " --writers 40"), 1,
                  "LD_PRELOAD=" SWITCHYARD_SLOW_DISK " SLOW_DISK_MILLISECONDS=100");
  const auto step = checkpoint_of(at(".new.unfinished"), 2);
  ASSERT_TRUE(wait_until([&] { return fs::exists(step / "shards/rank-00001.h5"); }, 60));
  kill(program.pid(), SIGTERM);
  const auto outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("nothing is left"));
  EXPECT_EQ(names(), before);
  run_well("reshard " + at("main") + " " + at("new"));
}

// A terminal would carry them out.
TEST_F(Reshard, ControlCharactersOfNamesAreShownEscaped) {
  make_main(4, "");
  const std::string strange = "a\x1b[31m\nb", shown = "a\\x1b[31m\\nb";
  const auto expect_shown = [&](const std::vector<std::string>& line, int code = 0) {
    const auto outcome = run(line);
    const std::string said = outcome.out + outcome.err;
    EXPECT_EQ(outcome.exit_code, code) << said;
    EXPECT_THAT(said, AllOf(HasSubstr(shown), Not(HasSubstr("\x1b"))));
  };
  expect_shown({"reshard", at("main"), at(strange)});
  expect_shown({"average", at("main"), "--steps", "2:4:2", "--output", at("mean of " + strange)});
  expect_shown({"list", folder_.path().string()});
  expect_shown({"inspect", at(strange)});
  expect_shown({"inspect", at(strange), "--full"});
  expect_shown({"verify", at(strange) + "@9"}, 2);
  expect_shown({"fork", at(strange) + "@4", at(strange + "branch"), "--data-path", data_});
  expect_shown({"train", at(strange + "branch"), "--train-iters", "6"});
  expect_shown({"train", at(strange + "branch"), "--train-iters", "5"});  // it is there already
  expect_shown({"extend", at(strange), "--at-step", "4", "--data-path", data_});
  expect_shown({"eval", at(strange), "--data-path", data_});
  expect_shown({"compare", at(strange) + "branch", at(strange)}, 2);
  expect_shown({"replay", at(strange) + "branch@5:6"});
  expect_shown({"convert", "--from", at(strange), "--to", at(strange + "hf")});
  expect_shown({"report", at(strange), "--output", at(strange + ".html")});
  fs::copy_file(data_ + ".bin", at(strange + ".bin"));
  expect_shown({"tokenize", "--input", data_ + ".bin", "--output-prefix", at(strange)});
  fs::remove(at(strange + "/checkpoints/step-00000004/checkpoint.h5"));
  const auto outcome = run({"eval", at(strange), "--data-path", data_});
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("a\\x1b[31m"), Not(HasSubstr("\x1b"))));
}

// What keeps others out meanwhile is no part of what is made.
TEST_F(Reshard, ALeaseThatDoesNotGoAtOnceIsNotLeftInTheRun) {
  make_main(2, "");
  const auto again = [&](const std::string& fault) {
    const std::string state = at(fault.find(";on") == std::string::npos ? "once" : "on");
    Program program(words("reshard " + at("main") + " " + at("new")), 1,
                    fmt::format("LD_PRELOAD=" SWITCHYARD_FAULTY_FILES
                                " SWITCHYARD_WATCHED={} SWITCHYARD_STATE={} "
                                "SWITCHYARD_FAULT=call=unlink;nth=1;name=lease;does={}",
                                fs::canonical(folder_.path()).string(), state, fault));
    auto outcome = program.wait();
    EXPECT_TRUE(fs::exists(state)) << outcome.err;
    return outcome;
  };
  const auto refused = again("EROFS;on");
  EXPECT_EQ(refused.exit_code, 5) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("lease in " + at(".new.unfinished") + " cannot be removed"));
  EXPECT_FALSE(fs::exists(at("new")));
  EXPECT_EQ(again("EROFS").exit_code, 0);
  EXPECT_TRUE(fs::exists(at("new/path.json")));
  EXPECT_FALSE(fs::exists(at("new/lease")));
}

TEST_F(Reshard, AStepThatGoesMeanwhileIsRefused) {
  make_main(2, "");
  const auto before = names();
  const auto master = checkpoint_of(at("main"), 2) / "checkpoint.h5";
  ReshardRequest request{{at("main"), 2}, at("new")};
  const auto error = [&]() -> std::string {
    try {
      reshard(request);
    } catch (const Error& problem) {
      return problem.what();
    }
    return "";
  };
  request.progress = [&, done = false](int64_t, int64_t) mutable {
    if (!done) fs::rename(master, master.string() + ".leaving");
    done = true;
  };
  EXPECT_THAT(error(), HasSubstr("step 2 of '" + at("main") + "' was deleted while it was read"));
  EXPECT_EQ(names(), before);
}

}  // namespace
}  // namespace switchyard::test
