// A source that somebody adds: a sum of the weights over the shard, beside the optimizer's.
#include <atomic>
#include <mutex>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "tests/optim/optimizer_rank.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using ops::test::devices;
using ops::test::values;
using test::delayed, test::Rank, test::RankSetup, test::State, test::collect;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* slow_group = "average/slow";

// The sum of what it was and what the weights are.
StateSource slow_weights(const std::string& when_missing) {
  const auto walk = [](const SavedState& state, const Tensor& own, bool from_weights) {
    const ops::Context& context = state.context();
    for (const ShardRun& run : state.runs().all) {
      const Tensor mine = run.in_shard(own);
      if (from_weights) {
        ops::copy(context, state.master(run), mine);
      } else {
        ops::add(context, mine, state.master(run), mine);
      }
    }
  };
  return {.group = slow_group,
          .start = [walk](const SavedState& state, const Tensor& own,
                          int64_t /*step*/) { walk(state, own, true); },
          .when_missing = when_missing,
          .updated = [walk](const SavedState& state, const Tensor& own,
                            const Tensor& /*scalars*/) { walk(state, own, false); }};
}

std::vector<StateSource> with_slow(DType dtype, const std::string& when_missing) {
  auto sources = DistributedOptimizer::sources(dtype, {});
  sources.push_back(slow_weights(when_missing));
  return sources;
}

// Beside a rank's optimizer the same weights' state with one source more.
struct WithSlow {
  explicit WithSlow(Rank& rank, const std::string& when_missing = "it starts from the weights")
      : sources(with_slow(rank.buffers.options().dtype, when_missing)),
        arena("state", SavedState::bytes_needed(sources, rank.buffers.shard_elements()),
              rank.buffers.options().device),
        state(sources, rank.buffers, rank.mesh, {rank.stream, rank.scratch}, arena) {
    state.start();
  }
  std::vector<StateSource> sources;
  Arena arena;
  SavedState state;
};

void save(const std::filesystem::path& folder, Communicator& world,
          const std::vector<ShardedTensor>& tensors) {
  CheckpointWriter writer(folder, world.control());
  CheckpointInfo info;
  info.step = 7;
  writer.stage(info, tensors);
  writer.commit();
}

State state_of(const SavedState& state) {
  State all;
  collect(all, state.tensors(StateUse::save));
  return all;
}

std::string slow(const Rank& rank, size_t parameter) {
  return tensor_name(slow_group, rank.list[parameter].name);
}

class SavedStateTest : public testing::TestWithParam<Device> {
 protected:
  test::TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(All, SavedStateTest, testing::ValuesIn(devices()), test::device_name);

TEST_P(SavedStateTest, ASourceIsWalkedSavedAndLoadedWithoutKnowingItsNeighbours) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const RankSetup setup{.layout = {.tp = 2, .dp = 2}, .dtype = dtype, .device = GetParam()};
    const auto folder = folder_.path() / std::string(name_of(dtype));
    State first, moved, loaded;
    std::mutex mutex;
    run_thread_ranks(4, delayed(3), [&](Communicator& world) {
      const auto keep = [&](State& all, const WithSlow& from) {
        const std::lock_guard lock(mutex);
        collect(all, from.state.tensors(StateUse::save));
      };
      Rank rank(setup, world), other(setup, world);
      WithSlow mine(rank), theirs(other);
      rank.stream.synchronize();
      keep(first, mine);
      rank.step(1);
      mine.state.updated({});
      rank.stream.synchronize();
      keep(moved, mine);
      save(folder, world, mine.state.tensors(StateUse::save));
      other.stream.synchronize();
      theirs.state.load(CheckpointReader(checkpoint_folder(folder, 7)));
      keep(loaded, theirs);
    });
    EXPECT_EQ(loaded, moved);
    if (dtype == DType::bf16) continue;  // there a master of its own stays, and with it the source
    const std::string group = tensor_name(slow_group) + "/";
    for (const auto& [name, before] : first) {
      if (!name.starts_with(group)) continue;
      const auto& weights = moved.at(tensor_name(groups::model, name.substr(group.size())));
      const auto& after = moved.at(name);
      for (size_t e = 0; e < before.size(); ++e) {
        ASSERT_EQ(after[e], before[e] + weights[e]) << name;
      }
    }
  }
}

// The optimizer alone has saved: as an older program, or one without this average.
TEST_P(SavedStateTest, AMissingGroupStartsFromWhatWasLoadedAndIsSaid) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    const RankSetup setup{.dtype = DType::bf16, .device = GetParam()};
    Rank rank(setup, world), other(setup, world);
    rank.step(1);
    save(folder_.path(), world, rank.optimizer.state().tensors(StateUse::save));
    WithSlow mine(other);
    other.stream.synchronize();
    const CheckpointReader reader(checkpoint_folder(folder_.path(), 7));
    testing::internal::CaptureStderr();
    mine.state.load(reader);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr("step 7 has no average/slow: it starts from the weights"));
    other.stream.synchronize();
    State state = state_of(mine.state);
    for (size_t i = 0; i < rank.list.size(); ++i) {
      EXPECT_EQ(state.at(slow(rank, i)), state.at(tensor_name(groups::master, rank.list[i].name)));
    }
    EXPECT_EQ(state.at(tensor_name(groups::counters))[ops::applied_updates], 1);
    WithSlow strict(other, "");
    other.stream.synchronize();
    ops::test::expect_error([&] { strict.state.load(reader); }, slow(rank, 0));
  });
}

// The bytes that a rank still has to read behind load() to know that all of the checkpoint is
// sound.
int64_t left_to_verify(const CheckpointReader& reader, std::vector<int32_t> checked,
                       Communicator& world) {
  Stream host;
  world.all_reduce(std::span(checked), ReduceOp::max, host, {"checked pieces"}).wait(host);
  int64_t bytes = 0;
  reader.verify_rest(checked, world.rank(), world.size(), [&](int64_t part) { bytes += part; });
  return bytes;
}

// Ranks whose program has a source more: `saves` says whether those that saved had it, too.
void resume(const std::filesystem::path& folder, Device device, bool saves,
            const std::function<void(SavedState& state, Communicator& world)>& body) {
  const RankSetup setup{.layout = {.tp = 2, .dp = 2}, .device = device};
  run_thread_ranks(4, {}, [&](Communicator& world) {
    Rank rank(setup, world);
    WithSlow mine(rank);
    rank.stream.synchronize();
    save(folder, world, (saves ? mine.state : rank.optimizer.state()).tensors(StateUse::save));
    body(saves ? rank.optimizer.state() : mine.state, world);
  });
}

TEST_P(SavedStateTest, ACheckpointWithoutAGroupIsCheckedWholeOnTheWay) {
  resume(folder_.path(), GetParam(), false, [&](SavedState& state, Communicator& world) {
    const CheckpointReader reader(checkpoint_folder(folder_.path(), 7));
    EXPECT_EQ(left_to_verify(reader, state.load(reader), world), 0);
  });
}

// The other way round nobody reads the group, which is checked all the same.
TEST_P(SavedStateTest, AGroupThatNobodyReadsIsVerifiedBehindTheOthers) {
  std::atomic<int64_t> bytes = 0;
  resume(folder_.path(), GetParam(), true, [&](SavedState& state, Communicator& world) {
    const CheckpointReader reader(checkpoint_folder(folder_.path(), 7));
    bytes += left_to_verify(reader, state.load(reader), world);
  });
  int64_t expected = 0;
  const CheckpointReader reader(checkpoint_folder(folder_.path(), 7));
  for (const StoredTensor& tensor : reader.tensors()) {
    if (!tensor.name.starts_with(tensor_name(slow_group) + "/")) continue;
    expected += tensor.shape.elements() * size_of(tensor.dtype);
  }
  EXPECT_EQ(bytes, expected);
  EXPECT_GT(bytes, 0);
}

TEST_P(SavedStateTest, WithoutCountersAllStepsWereApplied) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Rank rank({.device = GetParam()}, world), other({.device = GetParam()}, world);
    auto tensors = rank.optimizer.state().tensors(StateUse::save);
    std::erase_if(tensors, [](const ShardedTensor& t) {
      return t.name == tensor_name(groups::counters) || t.name == tensor_name(groups::loss_scale);
    });
    save(folder_.path(), world, tensors);
    testing::internal::CaptureStderr();
    other.optimizer.state().load(CheckpointReader(checkpoint_folder(folder_.path(), 7)));
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                AllOf(HasSubstr("step 7 has no optimizer/counters: all its updates count as"),
                      HasSubstr("step 7 has no optimizer/loss_scale: it is 1 again")));
    ops::test::stream_at_work = &other.stream;
    EXPECT_EQ(values(other.optimizer.state().tensor(groups::counters)),
              (std::vector<double>{7, 0, 0, 2}));
    EXPECT_EQ(values(other.optimizer.loss_scale()), (std::vector<double>{1}));
  });
}

// A group that is there but for one tensor is damaged, whatever may be missing as a whole.
TEST_P(SavedStateTest, AGroupThatLacksATensorIsAnErrorThatNamesIt) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Rank rank({.device = GetParam()}, world);
    WithSlow mine(rank);
    rank.stream.synchronize();
    for (const std::string& lost :
         {slow(rank, 2), tensor_name(groups::exp_avg, rank.list[1].name)}) {
      auto tensors = mine.state.tensors(StateUse::save);
      std::erase_if(tensors, [&](const ShardedTensor& t) { return t.name == lost; });
      const auto folder = folder_.path() / std::to_string(lost.size());
      save(folder, world, tensors);
      const CheckpointReader reader(checkpoint_folder(folder, 7));
      ops::test::expect_error([&] { mine.state.load(reader); }, lost + " is not in");
    }
  });
}

TEST_P(SavedStateTest, UnknownGroupsAreErrors) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Rank rank({.device = GetParam()}, world);
    ops::test::expect_error([&] { rank.optimizer.state().tensor(slow_group); }, slow_group);
  });
}

}  // namespace
}  // namespace switchyard
