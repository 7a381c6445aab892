#include "parallel/checkpoint/state_groups.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "parallel/comm/communicators.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::test {
namespace {

using testing::ElementsAre;

TEST(StateGroups, NameTensorsAsTheyLieInAFile) {
  EXPECT_EQ(tensor_name(groups::exp_avg, "layers.0.norm.weight"),
            "/optimizer/exp_avg/layers.0.norm.weight");
  EXPECT_EQ(tensor_name(groups::counters), "/optimizer/counters");
}

// Groups that this program does not know among them, one that lacks a weight, and a weight whose
// name is a path.
TEST(StateGroups, AreFoundInACheckpointWhateverTheirNames) {
  const TemporaryFolder folder;
  const auto tensor = [](const std::string& name, DType dtype,
                         std::vector<std::string> aliases = {}) {
    return TensorCase{name, {4, 2}, dtype, Cut::rows, std::move(aliases)};
  };
  save(folder.path(), 1,
       {tensor("/model/b", DType::bf16), tensor("/model/part/c", DType::bf16),
        tensor("/average/slow/b", DType::f32, {"/copy/b"}),
        tensor("/average/slow/part/c", DType::f32, {"/copy/part/c"}),
        tensor("/half/part/c", DType::f32), tensor("/optimizer/counters", DType::i64)},
       2);
  const CheckpointReader reader(checkpoint_folder(folder.path(), 1));
  EXPECT_THAT(weights_in(reader), ElementsAre("b", "part/c"));
  std::vector<std::string> found;
  for (const StoredGroup& g : stored_groups(reader)) {
    found.push_back(fmt::format("{} {} {}{}", g.name, name_of(g.dtype), g.tensors,
                                g.has_all_weights ? " all" : ""));
  }
  EXPECT_THAT(found, ElementsAre("average/slow f32 2 all", "copy f32 2 all", "half f32 1",
                                 "model bf16 2 all", "optimizer/counters i64 1"));
  for (const char* group : {"average/slow", "copy", "half", "optimizer/counters"}) {
    EXPECT_TRUE(has_group(reader, group)) << group;
  }
  for (const char* group : {"average/slo", "optimizer/counter", "mode", "optimizer/exp_avg"}) {
    EXPECT_FALSE(has_group(reader, group)) << group;
  }
}

}  // namespace
}  // namespace switchyard::test
