// Averages over the shards of ranks of threads, on every device; what they say of saved steps is
// tested with the whole program.
#include "optim/averages.h"

#include <fmt/core.h>

#include <mutex>

#include "tests/optim/optimizer_rank.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using Kind = AverageSpec::Kind;
using ops::test::devices;
using test::delayed, test::Rank, test::RankSetup, test::State, test::collect;

std::vector<AverageRecord> all_kinds() {
  return {{.spec = {.name = "slow", .kind = Kind::ema, .every = 2, .beta = 0.75}},
          {.spec = {.name = "lawa", .kind = Kind::lawa, .every = 2, .k = 2}},
          {.spec = {.name = "swa", .kind = Kind::swa, .from = 3}},
          {.spec = {.name = "running", .kind = Kind::running}, .since = 1}};
}

// On each device, and of a GPU's weights in the host's memory.
class AveragesTest : public testing::TestWithParam<std::pair<Device, Device>> {
 protected:
  static Device device() { return GetParam().first; }
  static Device where() { return GetParam().second; }
};
std::vector<std::pair<Device, Device>> places() {
  std::vector<std::pair<Device, Device>> all;
  for (const Device device : devices()) {
    all.emplace_back(device, device);
    if (device != Device::cpu) all.emplace_back(device, Device::cpu);
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, AveragesTest, testing::ValuesIn(places()), [](const auto& place) {
  return fmt::format("{}_in_{}", name_of(place.param.first), name_of(place.param.second));
});

// What is shown is the mean, gathered; what comes back is the raw weights with their bits.
TEST_P(AveragesTest, AreSavedShownAndTakenAway) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const RankSetup setup{.layout = {.tp = 2, .dp = 2}, .dtype = dtype, .device = device()};
    std::vector<State> steps(7);
    State saved, before, after;
    std::mutex mutex;
    run_thread_ranks(4, delayed(3), [&](Communicator& world) {
      Rank rank(setup, world);
      Averages averages(all_kinds(), rank.optimizer.state(), rank.buffers, where());
      const auto keep = [&](State& all, const std::vector<ShardedTensor>& tensors) {
        rank.stream.synchronize();
        const std::lock_guard lock(mutex);
        ops::test::stream_at_work = &rank.stream;
        collect(all, tensors);
      };
      const auto state = [&] { return rank.optimizer.state().tensors(StateUse::save); };
      for (int64_t step = 1; step <= 6; ++step) {
        rank.step(static_cast<int>(step));
        averages.take(step);
        keep(steps[static_cast<size_t>(step)], state());
      }
      keep(before, state());
      averages.show(0);
      rank.sync.gather_weights();
      averages.restore();
      rank.sync.gather_weights();
      keep(after, state());
      keep(saved, averages.to_save({}));
    });
    EXPECT_EQ(before, after);
    const std::string master(dtype == DType::f32 ? groups::model : groups::master);
    const std::string begin = "/average/slow/";
    for (const auto& [name, mean] : saved) {
      if (!name.starts_with(begin)) continue;
      const std::string weight = name.substr(begin.size());
      const auto at = [&](int64_t step, size_t i) -> double {
        return steps[static_cast<size_t>(step)].at("/" + master + "/" + weight)[i];
      };
      const auto of = [&](const std::string& group) {
        return saved.at("/average/" + group + "/" + weight);
      };
      for (size_t i = 0; i < mean.size(); ++i) {
        const double slow = 0.75 * (0.75 * at(2, i) + 0.25 * at(4, i)) + 0.25 * at(6, i);
        ASSERT_NEAR(mean[i], slow, 1e-6) << name;
        ASSERT_EQ(of("lawa")[i], static_cast<float>((at(4, i) + at(6, i)) / 2)) << name;
        ASSERT_EQ(of("lawa/member-4")[i], static_cast<float>(at(4, i))) << name;
        ASSERT_NEAR(of("swa")[i], (at(3, i) + at(4, i) + at(5, i) + at(6, i)) / 4, 1e-6) << name;
        double sum = 0;
        for (int64_t step = 2; step <= 6; ++step) sum += at(step, i);
        ASSERT_EQ(of("running/sum")[i], static_cast<float>(sum)) << name;
        ASSERT_EQ(of("running")[i], static_cast<float>(sum / 5)) << name;
      }
    }
    EXPECT_FALSE(saved.contains("/average/slow"));
  }
}

// The state of a running mean and of members comes back; where a member is left out its weights are
// read from elsewhere.
TEST_P(AveragesTest, GoOnFromWhatWasSaved) {
  const test::TemporaryFolder folder;
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Rank rank({.device = device()}, world);
    Averages first(all_kinds(), rank.optimizer.state(), rank.buffers, where());
    for (int step = 1; step <= 5; ++step) {
      rank.step(step);
      first.take(step);
    }
    std::vector<AverageRecord> records;
    for (size_t i = 0; i < first.size(); ++i) records.push_back(first.record(i));
    EXPECT_EQ(records[1].members, (std::vector<int64_t>{2, 4}));
    CheckpointWriter writer(folder.path(), world.control());
    CheckpointInfo info;
    info.step = 5;
    auto tensors = first.to_save({});
    rank.stream.synchronize();
    writer.stage(info, tensors);
    writer.commit();
    Averages second(records, rank.optimizer.state(), rank.buffers, where());
    CheckpointReader(checkpoint_folder(folder.path(), 5)).read_and_check(second.to_load({}));
    for (int step = 6; step <= 9; ++step) {
      rank.step(step);
      first.take(step);
      second.take(step);
    }
    State whole, resumed;
    const auto all = first.to_save({}), other = second.to_save({});
    rank.stream.synchronize();
    collect(whole, all);
    collect(resumed, other);
    EXPECT_EQ(whole, resumed);
    const std::vector<int64_t> left_out{8};
    State shorter;
    collect(shorter, second.to_save(left_out));
    EXPECT_LT(shorter.size(), whole.size());
    EXPECT_EQ(second.member_from_master(8).size(), rank.list.size());
    EXPECT_TRUE(second.member_from_master(7).empty());
  });
}

}  // namespace
}  // namespace switchyard
