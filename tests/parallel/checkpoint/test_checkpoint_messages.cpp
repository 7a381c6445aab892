// What ranks say to each other while they save: as much for each of many ranks as for each of few.
#include <gtest/gtest.h>

#include <mutex>

#include "parallel/comm/communicators.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::test {
namespace {

struct Count {
  int64_t messages = 0, bytes = 0;  // texts that are not empty
};

// A control plane that counts over all ranks what goes to rank 0, and what it sends to the others.
class CountingControl final : public ControlPlane {
 public:
  struct Totals {
    std::mutex mutex;
    Count up, down;
    int64_t exchanges = 0;  // of rank 0
  };

  CountingControl(std::unique_ptr<Communicator> group, Totals& totals)
      : group_(std::move(group)), totals_(totals) {}
  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  std::unique_ptr<ControlPlane> duplicate(const std::string& name) override {
    return std::make_unique<CountingControl>(group_->split(0, rank(), name), totals_);
  }
  std::unique_ptr<ControlPlane> split(std::span<const int> ranks,
                                      const std::string& name) override {
    return std::make_unique<CountingControl>(group_->split(ranks.front(), rank(), name), totals_);
  }

 private:
  std::string exchange(const std::string& mine, const Combine& combine,
                       std::string_view what) override;
  void count(Count& count, const std::string& text) {
    const std::lock_guard lock(totals_.mutex);
    if (text.empty()) return;
    ++count.messages;
    count.bytes += static_cast<int64_t>(text.size());
  }
  std::string send(const std::string& text, int from, int to, Label label) {
    Stream stream;
    auto length = static_cast<int64_t>(text.size());
    const auto bytes = [](std::string& t) {
      return std::span(reinterpret_cast<uint8_t*>(t.data()), t.size());
    };
    std::string all = text;
    if (rank() == from) {
      group_->send(std::span(&length, 1), to, stream, label).wait(stream);
      if (length > 0) group_->send(bytes(all), to, stream, label).wait(stream);
      return text;
    }
    group_->recv(std::span(&length, 1), from, stream, label).wait(stream);
    all.resize(static_cast<size_t>(length));
    if (length > 0) group_->recv(bytes(all), from, stream, label).wait(stream);
    return all;
  }

  std::unique_ptr<Communicator> group_;
  Totals& totals_;
};

std::string CountingControl::exchange(const std::string& mine, const Combine& combine,
                                      std::string_view what) {
  const Label label{what};
  if (rank() > 0) {
    count(totals_.up, mine);
    send(mine, rank(), 0, label);
    return send({}, 0, rank(), label);
  }
  ++totals_.exchanges;
  std::vector<std::string> texts = {mine};
  for (int from = 1; from < size(); ++from) texts.push_back(send({}, from, 0, label));
  const std::string result = combine(texts);
  for (int to = 1; to < size(); ++to) {
    count(totals_.down, result);
    send(result, 0, to, label);
  }
  return result;
}

struct Said {
  double up_messages = 0, up_bytes = 0, down_bytes = 0;  // for each rank but rank 0
  int64_t exchanges = 0;
};

// Each rank has as many pieces and bytes whatever their number, as a larger model has on more
// ranks.
Said said_by(int ranks) {
  std::vector<TensorCase> tensors;
  for (int i = 0; i < 12; ++i) {
    const bool rows = i % 2 == 0;
    tensors.push_back({fmt::format("/model/layers.{}.weight", i),
                       rows ? Shape{ranks * 4, 6} : Shape{6, ranks * 4},
                       DType::f32,
                       rows ? Cut::rows : Cut::columns,
                       {}});
  }
  const TemporaryFolder folder;
  CountingControl::Totals totals;
  run_thread_ranks(ranks, {}, [&](Communicator& world) {
    LocalPieces pieces(tensors, world.size(), world.rank());
    pieces.fill(7);
    CountingControl control(world.split(0, world.rank(), "counted"), totals);
    CheckpointWriter writer(folder.path(), control);
    writer.stage(info_of_step(7), pieces.sharded());
    writer.commit();
  });
  EXPECT_EQ(difference(checkpoint_folder(folder.path(), 7), tensors, 7), "");
  const double others = ranks - 1;
  return {static_cast<double>(totals.up.messages) / others,
          static_cast<double>(totals.up.bytes) / others,
          static_cast<double>(totals.down.bytes) / others, totals.exchanges};
}

TEST(MessagesOfASave, AreAsManyForEachOfManyRanks) {
  const Said few = said_by(8);
  EXPECT_GT(few.up_bytes, 1000);   // each rank says where its pieces lie
  EXPECT_LT(few.down_bytes, 100);  // and hears the checkpoint's id
  for (const int ranks : {16, 32}) {
    const Said more = said_by(ranks);
    EXPECT_EQ(more.exchanges, few.exchanges);
    EXPECT_EQ(more.up_messages, few.up_messages);
    EXPECT_EQ(more.down_bytes, few.down_bytes);
    // Offsets, shapes and numbers of ranks have a digit more.
    EXPECT_NEAR(more.up_bytes, few.up_bytes, 0.03 * few.up_bytes) << ranks;
  }
}

}  // namespace
}  // namespace switchyard::test
