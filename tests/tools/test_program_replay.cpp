// Steps that are made again and held against their record.
#include <gtest/gtest.h>

#include "core/files.h"
#include "parallel/checkpoint/checkpoint.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

struct Counts {
  int code = 0;
  int64_t origin = 0, exact = 0, exact_differing = 0, close = 0, close_differing = 0;
  friend bool operator==(const Counts&, const Counts&) = default;
};

void PrintTo(const Counts& c, std::ostream* out) {
  *out << "code " << c.code << ", origin " << c.origin << ", exact " << c.exact << " ("
       << c.exact_differing << " differ), close " << c.close << " (" << c.close_differing << ")";
}

class Replay : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  Counts replay(const std::string& range, Layout layout = {}, const std::string& more = "") const {
    const auto outcome =
        run(words("replay " + at(range) + " --json --tp " + std::to_string(layout.tp) + " --pp " +
                  std::to_string(layout.pp) + " --micro-batch-size 2 " + more),
            layout.ranks());
    if (outcome.out.empty()) return {outcome.exit_code};
    const auto found = nlohmann::json::parse(outcome.out);
    const auto &exact = found.at("exact"), &close = found.at("close");
    return {outcome.exit_code,     found.at("origin"), exact.at("common"),
            exact.at("differing"), close.at("common"), close.at("differing")};
  }
  // Every file below a folder and its contents.
  std::map<fs::path, std::string> files(const std::string& name) const {
    std::map<fs::path, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(at(name))) {
      if (entry.is_regular_file()) all[entry.path()] = read_file(entry.path());
    }
    return all;
  }
  void edit(const std::string& file, const std::string& from, const std::string& to) const {
    std::string text = read_file(at(file));
    const size_t place = text.find(from);
    ASSERT_NE(place, std::string::npos) << from << " in " << text;
    write_file_atomically(at(file), text.replace(place, from.size(), to));
  }

  const TemporaryFolder folder_;
  const std::string data_ = make_tokens(folder_.path(), "text", 60'000);
};

// Under two layouts, in bf16 with dropout, before and behind a fork; nothing is written.
TEST_F(Replay, bits_are_those_of_the_record) {
  const auto options = tiny_path(
      data_, 4,
      "--bf16 --hidden-dropout 0.1 --micro-batch-size 2 --save-interval 5 --train-iters ");
  train(at("main"), options + "8", {.tp = 2, .pp = 1});
  train(at("main"), options + "14", {.tp = 1, .pp = 2});
  run_well("fork " + at("main@10") + " " + at("branch") + " --lr-decay-style linear" +
           " --lr-decay-iters 6");
  train(at("branch"), "--micro-batch-size 2", {.tp = 2, .pp = 1});
  const auto before = files("main");
  const Layout tp{.tp = 2, .pp = 1}, pp{.tp = 1, .pp = 2};
  EXPECT_EQ(replay("main@1:8", tp), (Counts{0, 0, 8, 0, 0, 0}));
  EXPECT_EQ(replay("main@7:8", tp), (Counts{0, 5, 2, 0, 0, 0}));
  EXPECT_EQ(replay("main@9:14", pp), (Counts{0, 8, 6, 0, 0, 0}));
  EXPECT_EQ(replay("main@13", pp), (Counts{0, 10, 1, 0, 0, 0}));
  EXPECT_EQ(replay("main@6:10", tp), (Counts{0, 5, 3, 0, 2, 0}));
  EXPECT_EQ(replay("main@1:14"), (Counts{0, 0, 0, 0, 14, 0}));
  EXPECT_EQ(replay("branch@11:16", tp), (Counts{0, 10, 6, 0, 0, 0}));
  EXPECT_EQ(files("main"), before);
}

TEST_F(Replay, finds_what_is_not_as_it_was) {
  train(at("main"), tiny_path(data_, 4, "--micro-batch-size 2 --save-interval 3 --train-iters 6"));
  EXPECT_EQ(replay("main@1:6"), (Counts{0, 0, 6, 0, 0, 0}));
  edit("main/path.json", "\"seed\": 1234", "\"seed\": 1235");
  EXPECT_EQ(replay("main@1:6"), (Counts{4, 0, 6, 6, 0, 0}));
  EXPECT_EQ(replay("main@5:6"), (Counts{4, 3, 2, 2, 0, 0}));  // the order of samples alone
  edit("main/path.json", "\"seed\": 1235", "\"seed\": 1234");
  edit("main/path.json", "\"lr\": 0.001", "\"lr\": 0.00101");
  EXPECT_EQ(replay("main@1:6").exact_differing, 6);
}

// In a checkpoint whose checksums are right.
TEST_F(Replay, finds_one_flipped_bit_of_a_weight) {
  train(at("main"),
        tiny_path(data_, 4, "--bf16 --micro-batch-size 2 --save-interval 3 --train-iters 6"));
  const fs::path made = at("made"), saved = checkpoint_of(at("main"), 3);
  {
    const CheckpointReader reader(saved);
    CheckpointStreamWriter writer(made, reader.info());
    for (const auto& [name, bytes] : tensors_of(saved)) {
      std::vector<char> copy = bytes;
      if (name == "/optimizer/master/layers.2.mlp.up.weight") copy[402] ^= 0x40;
      writer.add(*reader.find(name), copy.data());
    }
    writer.finish();
  }
  fs::remove_all(saved);
  fs::rename(checkpoint_folder(made, 3), saved);
  EXPECT_EQ(replay("main@1:6"), (Counts{0, 0, 6, 0, 0, 0}));
  const Counts found = replay("main@4:6");
  EXPECT_EQ(found.code, 4);
  EXPECT_GT(found.exact_differing, 0);
}

TEST_F(Replay, refuses_steps_without_a_record) {
  train(at("main"), tiny_path(data_, 4, "--train-iters 4"));
  run_well("fork " + at("main@4") + " " + at("branch"));
  train(at("branch"), "--train-iters 6");
  const auto refused = [&](const std::string& range, const std::vector<std::string>& parts) {
    expect_refused("replay " + at(range), parts);
  };
  refused("main@0:3", {"RUN@A:B"});
  refused("main@3:2", {"RUN@A:B"});
  refused("main@1:2:3", {"RUN@A:B"});
  refused("main@", {"RUN@A:B"});
  refused("main", {"RUN@A:B"});
  refused("main@3:5", {"step 5 has no line", "its steps are 1 to 4"});
  refused("branch@4:5", {"begins behind step 4", "main"});
  refused("text@1", {"no path"});
  expect_refused("replay " + at("main@1") + " --tolerance -1", {"--tolerance -1"});
  expect_refused("replay " + at("main@1") + " --tp 2", {"--tp 2"});
}

}  // namespace
}  // namespace switchyard::test
