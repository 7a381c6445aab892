// Ranks that open sets together: one of a machine checks them whole for all of its ranks.
#include "launch/path/evaluation_sets.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "parallel/comm/communicators.h"
#include "tests/launch/path/specification_test.h"

namespace switchyard::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* local_rank = "LOCAL_RANK";

class EvaluationSets : public SpecificationTest {
 protected:
  void TearDown() override { unsetenv(local_rank); }

  // The set under another name, whose index holds nothing true behind its header.
  std::string with_damaged_index(const std::string& prefix) {
    const auto name = (folder_.path() / "damaged").string();
    for (const char* ending : {".bin", ".idx", ".json"}) {
      std::filesystem::copy_file(prefix + ending, name + ending);
    }
    std::fstream(name + ".idx", std::ios::binary | std::ios::in | std::ios::out).seekp(34)
        << "\xff\xff\xff\x7f";
    return name;
  }

  // What a rank opened: the identities, in text.
  static std::string opened(const EvaluationData& data) {
    std::string all;
    for (const auto& identity : data.identities()) all += identity + " ";
    return all + std::to_string(data.windows());
  }

  PathSpecification path_ = new_path(small());
};

// Threads of one process have one local rank: but for rank 0, all follow or all lead.
TEST_F(EvaluationSets, AMachinesOtherRanksReadHeadersAndTakeTheFirstRanksIdentities) {
  const std::string damaged = with_damaged_index(old_);
  EXPECT_THAT(error_of([&] { open_evaluation_data(path_, {damaged}); }), HasSubstr("damaged.idx"));
  setenv(local_rank, "1", 1);
  std::vector<std::string> seen(3);
  run_thread_ranks(3, {}, [&](Communicator& world) {
    const auto data = open_evaluation_data_once(path_, {new_, world.rank() == 0 ? old_ : damaged},
                                                world.control());
    seen[static_cast<size_t>(world.rank())] = opened(*data);
  });
  const std::string expected = opened(*open_evaluation_data(path_, {new_, old_}));
  EXPECT_THAT(seen, testing::Each(expected));
}

TEST_F(EvaluationSets, AnotherSetOnAnotherMachineIsRefusedByName) {
  const auto open = [&](const std::string& elsewhere) {
    return error_of([&] {
      run_thread_ranks(2, {}, [&](Communicator& world) {
        open_evaluation_data_once(path_, {new_, world.rank() == 0 ? old_ : elsewhere},
                                  world.control(), "; a hint");
      });
    });
  };
  EXPECT_EQ(open(old_), "no error");
  const auto identity = [&](const std::string& prefix) {
    return TokenDataset::open(prefix).identity();
  };
  EXPECT_THAT(open(new_), AllOf(HasSubstr(new_ + " has the identity " + identity(new_)),
                                HasSubstr("rank 0 reads " + identity(old_) + ": this is another"),
                                HasSubstr("; a hint")));
  EXPECT_THAT(open(with_damaged_index(old_)), AllOf(HasSubstr("damaged.idx"), HasSubstr("a hint")));
}

}  // namespace
}  // namespace switchyard::test
