// Averages of checkpoints that a few lines write: many shards, failures on the way, repetition.
#include "launch/path/average.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>

#include "core/error.h"
#include "launch/path/path_state.h"
#include "launch/path/retention.h"
#include "launch/path/run_folder.h"
#include "parallel/comm/communicators.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t rows = 48;

// Every tensor has the step's number everywhere, a row or more in the shard of each rank.
void save(const RunFolder& run, int64_t step, int ranks, int tensors = 1) {
  run_thread_ranks(ranks, {}, [&](Communicator& world) {
    CheckpointInfo info;
    info.step = step;
    info.loss = 1;
    std::vector<float> values(rows, static_cast<float>(step));
    const Box part{{world.rank() * rows / ranks}, {rows / ranks}};
    std::vector<ShardedTensor> all;
    for (int i = 0; i < tensors; ++i) {
      all.push_back(
          {fmt::format("/model/w{}", i), {rows}, DType::f32, {{part, values.data()}}, {}});
    }
    CheckpointWriter writer(run.checkpoints(), world.control());
    writer.stage(info, all);
    writer.commit();
  });
}

PathSpecification specification() {
  Settings given;
  for (const auto& [name, value] : {std::pair{"preset", "gpt2-tiny"}, {"global-batch-size", "1"}}) {
    given.set_text(name, value);
  }
  return path_without_data(given);
}

// So many files may be open in this process.
class OpenFiles {
 public:
  explicit OpenFiles(rlim_t most) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit less{most, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &less);
  }
  ~OpenFiles() { setrlimit(RLIMIT_NOFILE, &before_); }
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;

 private:
  rlimit before_{};
};

class Averages : public testing::Test {
 protected:
  Averages() { main_.write(specification()); }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  void average_main(const std::string& steps, const std::string& to = "mean") const {
    average({members_of(at("main"), parse_steps(steps)), at(to)});
  }
  std::string refusal(const std::string& steps, const std::string& to = "mean") const {
    try {
      average_main(steps, to);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  CheckpointReader made(const std::string& name = "mean") const {
    return CheckpointReader(RunFolder(at(name)).checkpoint(std::nullopt).folder);
  }
  // What lies beside the path.
  std::vector<std::string> others() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      if (entry.path().filename() != "main") names.push_back(entry.path().filename().string());
    }
    return names;
  }

  test::TemporaryFolder folder_;
  RunFolder main_{folder_.path() / "main"};
};

TEST_F(Averages, NeedFewOpenFilesForManyShardsAndSteps) {
  for (int64_t step = 1; step <= 6; ++step) save(main_, step, 24);
  const OpenFiles few(64);
  average_main("1:6:1");
  std::vector<float> values(rows);
  made().read("/model/w0", Box::whole({rows}), values.data());
  EXPECT_EQ(values, std::vector<float>(rows, 3.5f));
}

TEST_F(Averages, HaveNoLoss) {
  for (const int64_t step : {2, 4}) save(main_, step, 1);
  average_main("2:4:2");
  EXPECT_TRUE(std::isnan(made().info().loss));
}

// A group that holds each weight, ten times as large as the model's, and one that lacks some.
void save_groups(const RunFolder& run, int64_t step) {
  const auto world = make_self_communicator();
  std::vector<float> ones(rows, static_cast<float>(step)), tens(rows, 10.0f * step);
  std::vector<ShardedTensor> all;
  for (const auto& [name, values] : {std::pair{"/model/w0", &ones},
                                     {"/model/w1", &ones},
                                     {"/average/slow/w0", &tens},
                                     {"/average/slow/w1", &tens},
                                     {"/average/half/w0", &tens}}) {
    const Piece piece{Box::whole({rows}), values->data()};
    all.push_back({name, {rows}, DType::f32, {piece}, {}});
  }
  CheckpointInfo info;
  info.step = step;
  CheckpointWriter writer(run.checkpoints(), world->control());
  writer.stage(info, all);
  writer.commit();
}

TEST_F(Averages, AreOfTheGroupThatIsNamed) {
  for (const int64_t step : {2, 4}) save_groups(main_, step);
  const auto of = [&](const std::string& weights, const std::string& to) {
    average({members_of(at("main"), {2, 4}), at(to), weights});
    std::vector<float> values(rows);
    EXPECT_THAT(weights_in(made(to)), testing::ElementsAre("w0", "w1"));
    made(to).read("/model/w1", Box::whole({rows}), values.data());
    return values;
  };
  EXPECT_EQ(of("model", "mean"), std::vector<float>(rows, 3));
  EXPECT_EQ(of("average/slow", "slow"), std::vector<float>(rows, 30));
  EXPECT_EQ(weights_of_average(made("mean").info()), "model");
  EXPECT_EQ(weights_of_average(made("slow").info()), "average/slow");
  const auto refused = [&](const std::string& weights, const std::string& to) {
    try {
      of(weights, to);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  of("average/slow", "slow");  // again
  EXPECT_THAT(refused("model", "slow"),
              AllOf(HasSubstr("of the weights average/slow"), HasSubstr("--weights model")));
  EXPECT_THAT(refused("average/half", "none"),
              HasSubstr("--weights average/half; the weights in step 2 are average/slow, model"));
  EXPECT_FALSE(fs::exists(at("none")));
  save(main_, 6, 1);  // without the group
  try {
    average({members_of(at("main"), {4, 6}), at("none"), "average/slow"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--weights average/slow; the weights in step 6 are model"));
  }
}

TEST_F(Averages, AgainChangeNothing) {
  for (const int64_t step : {2, 4, 6}) save(main_, step, 1);
  average_main("2:4:2", "deep/mean/");
  const std::string id = made("deep/mean").info().id;
  Retention(main_, {.checkpoints = 2})
      .apply();  // step 2 goes, step 4 still tells whose average it is
  average_main("2:4:2", "deep/mean");
  EXPECT_EQ(made("deep/mean").info().id, id);
  Retention(main_, {.checkpoints = 1}).apply();
  average_main("2:4:2", "deep/mean");
  EXPECT_EQ(made("deep/mean").info().id, id);
}

TEST_F(Averages, OfOtherThingsAreRefusedNamingTheDifference) {
  for (const int64_t step : {2, 4, 6}) save(main_, step, 1);
  average_main("2:4:2");
  EXPECT_THAT(refusal("2:6:2"), HasSubstr("of the steps 2, 4; 2, 4, 6 were asked"));
  EXPECT_THAT(refusal("4:4:1"), HasSubstr("of the steps 2, 4; 4 were asked"));
  EXPECT_THAT(refusal("2:4:2", "main"), HasSubstr("is no average"));
  fs::create_directory(at("kept"));
  fs::create_directory(at("kept/notes"));
  EXPECT_THAT(refusal("2:4:2", "kept"), HasSubstr("is no average"));
  const RunFolder other(at("other"));
  other.write(specification());
  for (const int64_t step : {2, 4}) save(other, step, 1);
  try {
    average({members_of(at("other"), parse_steps("2:4:2")), at("mean")});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(at("main") + "@2"), HasSubstr("other")));
  }
}

TEST_F(Averages, ThatFailLeaveNothingAndCanBeTriedAgain) {
  for (const int64_t step : {2, 4}) save(main_, step, 2);
  const fs::path master = main_.checkpoint(4).folder / "checkpoint.h5";
  fs::rename(master, at("main/kept"));
  fs::create_symlink("nowhere", master);
  EXPECT_THAT(refusal("2:4:2"), HasSubstr("step 4"));
  fs::remove(master);
  fs::rename(at("main/kept"), master);
  {
    const OpenFiles none(4);  // too few even to begin
    EXPECT_NE(refusal("2:4:2", "deep/mean"), "no error");
  }
  EXPECT_THAT(others(), IsEmpty());
  // What a killed process leaves is in nobody's way.
  fs::create_directories(at(".mean.unfinished/checkpoints/step-00000004/shards"));
  average_main("2:4:2");
  EXPECT_THAT(others(), testing::ElementsAre("mean"));
}

TEST_F(Averages, NameTheStepThatRetentionTookMeanwhile) {
  for (int64_t step = 1; step <= 20; ++step) save(main_, step, 1, 3);
  const OpenFiles few(32);  // shards are opened again for each tensor
  try {
    average({members_of(at("main"), parse_steps("1:20:1")), at("mean")},
            [&](int64_t done, int64_t all) {
              EXPECT_EQ(all, 3);
              if (done == 1) Retention(main_, {.checkpoints = 19}).apply();
            });
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("step 1 of"), HasSubstr("deleted while it was read")));
  }
  EXPECT_THAT(others(), IsEmpty());
  EXPECT_THAT(refusal("1:20:1"), HasSubstr("step 1 of '" + at("main") + "' is not saved"));
}

}  // namespace
}  // namespace switchyard
