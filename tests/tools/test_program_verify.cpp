// What `verify` calls damaged, and what it only notes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "core/files.h"
#include "core/json.h"
#include "launch/path/sealed_json.h"
#include "parallel/checkpoint/index.h"
#include "tests/parallel/checkpoint/newer_checkpoint.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Verify : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  void make(const std::string& run, const std::string& more) const {
    train(at(run), tiny_path(data_, 6, "--save-interval 2 " + more));
  }
  // Flips a bit of its first tensor, and returns the file.
  fs::path damage(const std::string& run, int64_t step) const {
    const fs::path folder = checkpoint_of(at(run), step);
    fs::path shard = folder / "shards/rank-00000.h5";
    const auto place = CheckpointReader(folder).index().tensors[0].pieces[0].address;
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(place);
    const int byte = file.get();
    file.seekp(place);
    file.put(static_cast<char>(byte ^ 1));
    return shard;
  }
  void expect(const std::string& run, int code, const testing::Matcher<std::string>& said) const {
    const auto outcome = verify(run);
    EXPECT_EQ(outcome.exit_code, code) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out, said);
  }
  Outcome verify(const std::string& run) const { return test::run({"verify", at(run).string()}); }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 60'000);
};

TEST_F(Verify, members_that_an_older_step_may_lack_are_no_damage) {
  make("run", "--train-iters 12 --keep-checkpoints 2 --average lawa:k=2,every=2");
  const auto outcome = verify("run");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("note: step "), Not(HasSubstr("DAMAGED"))));
}

TEST_F(Verify, a_damaged_member_is_damage_of_the_step_that_needs_it) {
  make("run", "--train-iters 6 --average lawa:k=2,every=2");
  const std::string shard = damage("run", 4).string();
  expect("run@6", 5, AllOf(HasSubstr("need the weights of step 4"), HasSubstr(shard)));
  expect("run", 5, HasSubstr("3 saved steps, 2 damaged"));
  const std::string goes_on = "train " + at("run").string() + " --train-iters 8";
  const auto refused = test::run(words(goes_on));
  EXPECT_EQ(refused.exit_code, 5) << refused.err;
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr(shard), HasSubstr("average at step 6"),
                    HasSubstr("step 4 among its members"), HasSubstr("--drop-average")));
  run_well(goes_on + " --drop-average lawa");
}

TEST_F(Verify, steps_that_were_saved_and_are_not_there_are_missed) {
  make("run", "--train-iters 2");
  fs::remove_all(checkpoint_of(at("run"), 2));
  expect("run", 5, AllOf(HasSubstr("WRONG: "), HasSubstr("is its file system there?")));
}

TEST_F(Verify, json_of_a_name_that_is_no_text_replaces_what_is_none) {
  make("run", "--train-iters 2");
  fs::rename(at("run"), at("run\xff"));
  for (const char* command : {"verify", "inspect"}) {
    const auto outcome = test::run({command, at("run\xff").string(), "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("run\xef\xbf\xbd"));
  }
}

TEST_F(Verify, a_step_of_another_run_is_found) {
  make("run", "--train-iters 6");
  make("other", "--train-iters 6 --seed 5");
  fs::remove_all(checkpoint_of(at("run"), 4));
  fs::copy(checkpoint_of(at("other"), 4), checkpoint_of(at("run"), 4), fs::copy_options::recursive);
  const auto outcome = verify("run");
  EXPECT_EQ(outcome.exit_code, 5) << outcome.out;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("step 4          DAMAGED"), HasSubstr("seed 5")));
  EXPECT_THAT(outcome.out, HasSubstr("3 saved steps, 1 damaged"));
}

// A resume looks at what the step says of its path, as verify does; the path's own steps go on.
TEST_F(Verify, no_training_goes_on_from_a_step_of_another_run) {
  make("run", "--train-iters 6");
  make("other", "--train-iters 6 --lr 0.002");
  fs::remove_all(checkpoint_of(at("run"), 6));
  fs::copy(checkpoint_of(at("other"), 6), checkpoint_of(at("run"), 6), fs::copy_options::recursive);
  const std::string goes_on = "train " + at("run").string() + " --train-iters 8";
  const auto outcome = test::run(words(goes_on));
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("step 6 of '" + at("run").string() + "' was saved with"),
                                 HasSubstr("--lr 0.002, and path.json says ")));
  run_well(goes_on + " --load-step 4");
}

TEST_F(Verify, no_training_goes_on_from_a_step_of_another_branch) {
  make("run", "--train-iters 6");
  const auto fork = [&](int step, const std::string& name) {
    run_well(fmt::format("fork {}@{} {}", at("run").string(), step, at(name).string()));
    run_well("train " + at(name).string() + " --train-iters 8");
  };
  fork(4, "of-4");
  fork(6, "of-6");
  fs::remove_all(checkpoint_of(at("of-4"), 8));
  fs::copy(checkpoint_of(at("of-6"), 8), checkpoint_of(at("of-4"), 8), fs::copy_options::recursive);
  const auto outcome = test::run(words("train " + at("of-4").string() + " --train-iters 9"));
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("the origin a fork from step 6 (sample "),
                                 HasSubstr("path.json says a fork from step 4 (sample ")));
}

TEST_F(Verify, a_step_under_the_name_of_another_is_not_used) {
  make("run", "--train-iters 6");
  fs::remove_all(checkpoint_of(at("run"), 6));
  fs::copy(checkpoint_of(at("run"), 2), checkpoint_of(at("run"), 6), fs::copy_options::recursive);
  const std::string run = at("run").string();
  for (const std::string& line :
       {"train " + run + " --train-iters 8", "compare " + run + "@6 " + run + "@4",
        "fork " + run + "@6 " + at("branch").string(),
        "reshard " + run + "@6 " + at("copy").string()}) {
    const auto outcome = test::run(words(line));
    EXPECT_EQ(outcome.exit_code, 5) << line << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("step-00000006 holds step 2")) << line;
  }
}

// Of two runs that differ in what they read alone, and of a path.json whose rates were edited.
TEST_F(Verify, a_step_tells_what_was_read_before_it_and_its_rates) {
  make("run", "--train-iters 6");
  const std::string more = make_tokens(folder_.path(), "more", 50'000);
  train(at("other"), tiny_path(more, 6, "--save-interval 2 --train-iters 6"));
  const std::string goes_on = "train " + at("run").string() + " --train-iters 8";
  const auto own = read_file(at("run/path.json"));
  fs::copy_file(at("other/path.json"), at("run/path.json"), fs::copy_options::overwrite_existing);
  auto outcome = test::run(words(goes_on));
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("the data sample 0: 1 "), HasSubstr("more (")));
  write_file_atomically(at("run/path.json"), own);
  run_well(fmt::format("fork {}@6 {} --lr-decay-style linear --lr-decay-iters 8",
                       at("run").string(), at("branch").string()));
  run_well("train " + at("branch").string() + " --train-iters 8");
  std::string text = read_file(at("branch/path.json"));
  const auto place = text.find("\"decay_from\": 0.001");
  ASSERT_NE(place, std::string::npos) << text;
  text.replace(place, 19, "\"decay_from\": 0.002");
  write_file_atomically(at("branch/path.json"), text);
  EXPECT_EQ(verify("branch").exit_code, 5);
  outcome = test::run(words("train " + at("branch").string() + " --train-iters 9"));
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("was saved with the schedule of rates"));
}

// What is read behind the last saved step is the path's to say.
TEST_F(Verify, data_may_be_added_behind_a_step) {
  make("run", "--train-iters 6");
  const std::string more = make_tokens(folder_.path(), "more", 60'000);
  run_well(fmt::format("extend {} --at-step 6 --data-path {}", at("run").string(), more));
  EXPECT_EQ(verify("run").exit_code, 0);
  run_well("train " + at("run").string() + " --train-iters 8");
  EXPECT_EQ(verify("run").exit_code, 0);
}

TEST_F(Verify, compare_finds_damage_in_either_of_two_steps) {
  make("run", "--train-iters 4");
  const fs::path shard = damage("run", 4);
  for (const char* steps : {"run@4 run@2", "run@2 run@4"}) {
    std::string line = "compare";
    for (const auto& step : words(steps)) line += " " + at(step).string();
    const auto outcome = test::run(words(line));
    EXPECT_EQ(outcome.exit_code, 5) << outcome.out;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("damaged"), HasSubstr(shard.string())));
  }
}

TEST_F(Verify, a_pipe_in_place_of_a_file_is_not_waited_for) {
  make("run", "--train-iters 6");
  const fs::path master = checkpoint_of(at("run"), 6) / "checkpoint.h5";
  fs::remove(master);
  ASSERT_EQ(mkfifo(master.c_str(), 0600), 0);
  const auto outcome = verify("run");
  EXPECT_EQ(outcome.exit_code, 5) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("no file with data"));
}

TEST_F(Verify, a_branch_that_needs_its_parent_says_so_and_strange_names_are_noted) {
  make("run", "--train-iters 6");
  run_well("fork " + at("run").string() + "@6 " + at("branch").string());
  EXPECT_EQ(verify("branch").exit_code, 0);
  fs::rename(checkpoint_of(at("run"), 4), at("run/checkpoints/step-4"));
  const auto noted = verify("run");
  EXPECT_EQ(noted.exit_code, 0) << noted.out;
  EXPECT_THAT(noted.out, HasSubstr("step-4 is no saved step"));
  fs::remove_all(at("run"));
  const auto outcome = verify("branch");
  EXPECT_EQ(outcome.exit_code, 5) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("WRONG: its fork point"));
}

// As long as the branch has no step of its own, it needs the parent's.
TEST_F(Verify, a_fork_point_is_read_in_the_parent) {
  make("run", "--train-iters 4");
  run_well("fork " + at("run").string() + "@4 " + at("branch").string());
  run_well("fork " + at("run").string() + "@4 " + at("trained").string());
  run_well("train " + at("trained").string() + " --train-iters 6");
  fs::copy(at("run"), at("run-copy"), fs::copy_options::recursive);
  const std::string shard = damage("run", 4).string();
  const auto says_copy = HasSubstr("; a start reads its copy in '" + at("run-copy").string() +
                                   "' instead, which is whole");
  const auto says_damage =
      AllOf(HasSubstr("WRONG: its fork point ../run@4 (checkpoint "), HasSubstr(shard),
            HasSubstr("0 saved steps, 0 damaged; 1 other problems"));
  expect("branch", 5, AllOf(says_damage, says_copy));
  damage("run-copy", 4);
  expect("branch", 5, AllOf(says_damage, Not(says_copy)));
  expect("trained", 0,
         AllOf(HasSubstr("note: its fork point ../run@4"), HasSubstr(shard), HasSubstr("step 6 ")));
}

TEST_F(Verify, what_an_unsaved_fork_point_is_made_from_is_read) {
  make("run", "--train-iters 4");
  run_well("fork " + at("run").string() + "@3 " + at("branch").string());
  expect("branch", 0, HasSubstr("0 other problems"));
  const std::string shard = damage("run", 2).string();
  expect("branch", 5,
         AllOf(HasSubstr("WRONG: its fork point is made from ../run@2"), HasSubstr(shard)));
  fs::resize_file(at("branch/replay.json"), 100);
  expect("branch", 5,
         AllOf(HasSubstr("WRONG: " + at("branch/replay.json").string()),
               HasSubstr("2 other problems")));
}

TEST_F(Verify, the_steps_of_a_branch_of_a_mean_are_read) {
  make("run", "--train-iters 4");
  const std::string run = at("run").string(), mean = at("mean").string();
  run_well("average " + run + " --steps 2:4:2 --output " + mean);
  run_well("fork " + mean + " " + at("branch").string() + " --lr 0.001");
  expect("branch", 0, HasSubstr("0 other problems"));
  const std::string moments = damage("run", 4).string(), weights = damage("mean", 4).string();
  expect("branch", 5,
         AllOf(HasSubstr("WRONG: its fork point ../mean@4"), HasSubstr(weights),
               HasSubstr("WRONG: its moments come from ../run@4"), HasSubstr(moments)));
}

TEST_F(Verify, a_pin_that_was_cut_or_changed_is_found_and_counts) {
  make("run", "--train-iters 4");
  run_well("fork " + at("run").string() + "@2 " + at("branch").string());
  const fs::path pin = fs::directory_iterator(at("run/pins"))->path();
  const std::string whole = read_file(pin);
  std::string changed = whole;
  changed[whole.find("checkpoint") + 20] ^= 1;
  for (const std::string& text : {std::string(), whole.substr(0, whole.size() / 2), changed}) {
    std::ofstream(pin) << text;
    expect("run", 5,
           AllOf(HasSubstr("WRONG: " + pin.string() + ", which keeps step 2 for a branch"),
                 HasSubstr("expected: one JSON object"), HasSubstr("1 other problems")));
    const std::string dry = run_well("prune " + at("run").string() + " --keep-checkpoints 1");
    EXPECT_THAT(dry, HasSubstr("a fork point")) << dry;
  }
  run_well("fork " + at("run").string() + "@2 " + at("branch").string());  // writes it anew
  expect("run", 0, HasSubstr("0 other problems"));
}

TEST_F(Verify, a_pin_under_the_name_of_another_step_is_found) {
  make("run", "--train-iters 6");
  run_well("fork " + at("run").string() + "@4 " + at("branch").string());
  const fs::path pin = fs::directory_iterator(at("run/pins"))->path();
  fs::rename(pin, at("run/pins/step-00000002--branch.pin"));
  expect("run", 5,
         AllOf(HasSubstr("WRONG: "), HasSubstr("step-00000002--branch.pin keeps step 4"),
               HasSubstr(pin.filename().string()), HasSubstr("1 other problems")));
  run_well("prune " + at("run").string() + " --keep-checkpoints 1 --yes");
  EXPECT_EQ(saved_steps(at("run")), (std::vector<int64_t>{4, 6}));
}

// Else the first start would find the machine at fault.
TEST_F(Verify, a_changed_record_of_an_unsaved_fork_point_is_found) {
  make("run", "--train-iters 4");
  run_well("fork " + at("run").string() + "@3 " + at("branch").string());
  const fs::path file = at("branch/replay.json");
  const std::string whole = read_file(file);
  std::string changed = whole;
  char& digit = changed[changed.find("\"loss\":") + 9];
  digit = digit == '9' ? '8' : '9';
  for (size_t place : {changed.find("xxh3"), whole.size()}) {  // a seal under another name, too
    std::string text = place < whole.size() ? whole : changed;
    if (place < whole.size()) text[place] ^= 1;
    write_file_atomically(file, text);
    expect("branch", 5,
           AllOf(HasSubstr("WRONG: " + file.string()), HasSubstr("no longer those"),
                 HasSubstr("1 other problems")));
    const auto outcome = test::run(words("train " + at("branch").string() + " --train-iters 4"));
    EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(file.string()));
  }
  const std::string unsealed = whole.substr(0, whole.find(",\"xxh3_64\"")) + "}";
  write_file_atomically(file, unsealed);  // as earlier versions wrote it
  expect("branch", 0, HasSubstr("0 other problems"));
  run_well("train " + at("branch").string() + " --train-iters 4");
}

TEST_F(Verify, a_pin_that_was_deleted_is_missed_by_its_branch) {
  make("run", "--train-iters 4");
  const std::string fork = "fork " + at("run").string();
  run_well(fork + "@2 " + at("branch").string());
  run_well(fork + "@3 " + at("unsaved").string());
  run_well(fork + "@0 " + at("random").string());
  run_well(fork + "@2 " + at("trained").string());
  run_well("train " + at("trained").string() + " --train-iters 4");
  const auto expect_all = [&](int code, const std::string& said) {
    for (const char* branch : {"branch", "unsaved"}) expect(branch, code, HasSubstr(said));
    for (const char* branch : {"random", "trained"}) expect(branch, 0, Not(HasSubstr("pin")));
  };
  expect_all(0, "0 other problems");
  fs::remove_all(at("run/pins"));
  expect_all(5,
             "its pin in " + at("run/pins").string() + " is gone, so that step 2 may be deleted");
  std::ofstream(at("run/pins")) << "no pin can be written";
  expect_all(0, "0 other problems");
  fs::remove(at("run/pins"));
  run_well(fork + "@2 " + at("branch").string());
  expect("branch", 0, HasSubstr("0 other problems"));
}

// As of a newer path.json, code 2 says that nothing need be wrong.
TEST_F(Verify, what_a_newer_program_wrote_is_not_called_damaged) {
  make("run", "--train-iters 4");
  const std::string steps = at("run").string();
  run_well("fork " + steps + "@4 " + at("branch").string());
  run_well("fork " + steps + "@4 " + at("trained").string());
  run_well("train " + at("trained").string() + " --train-iters 6");
  set_format_version(checkpoint_of(at("run"), 4), 9);
  expect("run", 2,
         AllOf(HasSubstr("step 4          NEWER: "), HasSubstr("format version 9"),
               HasSubstr("2 saved steps, 0 damaged; 0 other problems; some is of a newer")));
  expect(
      "branch", 2,
      AllOf(HasSubstr("NEWER: its fork point ../run@4 (checkpoint "),
            HasSubstr(checkpoint_of(at("run"), 4).string() + " is of the newer format version 9"),
            HasSubstr("0 other problems; some is of a newer"), Not(HasSubstr("WRONG"))));
  const auto resumed = test::run(words("train " + steps + " --train-iters 6"));
  EXPECT_EQ(resumed.exit_code, 2) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("it has format version 9; this program reads"));
  const std::string text = read_file(at("run/path.json"));
  std::string newer = text;
  newer.replace(newer.find("\"format\": 2"), 11, "\"format\": 99");
  write_file_atomically(at("run/path.json"), newer);
  expect("run", 2,
         AllOf(HasSubstr("NEWER: "), HasSubstr("path.json has format 99"),
               HasSubstr("step 2          "), HasSubstr("every checksum holds")));
  set_format_version(checkpoint_of(at("run"), 4), 2);
  const auto said = AllOf(HasSubstr(": its fork point ../run@4 (checkpoint "),
                          HasSubstr("run/path.json has format 99"), HasSubstr("0 other problems"));
  expect("branch", 2, AllOf(HasSubstr("NEWER: "), said));
  expect("trained", 0, AllOf(HasSubstr("note: "), said, Not(HasSubstr("NEWER"))));
  damage("run", 2);
  expect("run", 5, HasSubstr("2 saved steps, 1 damaged"));
}

TEST_F(Verify, a_record_of_a_newer_format_is_not_called_damaged) {
  make("run", "--train-iters 4");
  run_well("fork " + at("run").string() + "@3 " + at("branch").string());
  const fs::path file = at("branch/replay.json");
  Json record = parse_json(read_file(file));
  record.erase(json_seal);
  const auto write = [&] { write_file_atomically(file, sealed_text(record)); };
  const Json whole = record;
  record["format"] = 9;
  write();
  const auto expect_newer = [&](const std::string& said) {
    expect("branch", 2,
           AllOf(HasSubstr("NEWER: " + file.string()), HasSubstr(said),
                 HasSubstr("0 other problems; some is of a newer"), Not(HasSubstr("WRONG"))));
    const auto refused = test::run(words("train " + at("branch").string() + " --train-iters 4"));
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_THAT(refused.err, AllOf(HasSubstr(file.string()), HasSubstr(said)));
  };
  expect_newer("it has format 9; this program reads 1");
  std::string changed = read_file(file);
  changed[changed.find("\"loss\":") + 9] ^= 1;
  write_file_atomically(file, changed);
  expect("branch", 5, AllOf(HasSubstr("WRONG: " + file.string()), Not(HasSubstr("NEWER"))));
  record = whole;
  record["segments"][0]["specification"]["format"] = 99;
  write();
  expect_newer("has format 99");
}

}  // namespace
}  // namespace switchyard::test
