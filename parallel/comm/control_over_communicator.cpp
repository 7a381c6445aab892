#include <algorithm>

#include "parallel/comm/communicator.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

std::span<uint8_t> bytes_of(std::string& text) {
  return {reinterpret_cast<uint8_t*>(text.data()), text.size()};
}

class CommunicatorControl final : public ControlPlane {
 public:
  explicit CommunicatorControl(std::unique_ptr<Communicator> group) : group_(std::move(group)) {}
  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }

  std::unique_ptr<ControlPlane> duplicate(const std::string& name) override {
    return make_control_plane(group_->split(0, rank(), name));
  }
  std::unique_ptr<ControlPlane> split(std::span<const int> ranks,
                                      const std::string& name) override {
    const auto place = std::ranges::find(ranks, rank()) - ranks.begin();
    return make_control_plane(group_->split(ranks.front(), static_cast<int>(place), name));
  }

 private:
  std::string exchange(const std::string& mine, const Combine& combine,
                       std::string_view what) override;
  std::vector<std::string> bring_to_rank_0(std::string mine, std::span<const int64_t> lengths,
                                           Label label);

  std::unique_ptr<Communicator> group_;
};

// All lengths go to all ranks, so that each can name one that does not come, and that nothing else
// has to be sent where there is nothing to say.
std::string CommunicatorControl::exchange(const std::string& mine, const Combine& combine,
                                          std::string_view what) {
  const Label label{what};
  Stream stream;
  auto length = static_cast<int64_t>(mine.size());
  std::vector<int64_t> lengths(static_cast<size_t>(size()));
  group_->all_gather(std::span(&length, 1), std::span(lengths), stream, label).wait(stream);
  if (std::ranges::all_of(lengths, [](int64_t each) { return each == 0; })) return {};
  const auto texts = bring_to_rank_0(mine, lengths, label);
  std::string result = rank() == 0 ? combine(texts) : std::string();
  length = static_cast<int64_t>(result.size());
  group_->broadcast(std::span(&length, 1), 0, stream, label).wait(stream);
  result.resize(static_cast<size_t>(length));
  if (length > 0) group_->broadcast(bytes_of(result), 0, stream, label).wait(stream);
  return result;
}

std::vector<std::string> CommunicatorControl::bring_to_rank_0(std::string mine,
                                                              std::span<const int64_t> lengths,
                                                              Label label) {
  Stream stream;
  if (rank() > 0) {
    if (!mine.empty()) group_->send(bytes_of(mine), 0, stream, label).wait(stream);
    return {};
  }
  std::vector<std::string> texts(lengths.size());
  texts[0] = std::move(mine);
  std::vector<Handle> coming;
  for (size_t i = 1; i < texts.size(); ++i) {
    texts[i].resize(static_cast<size_t>(lengths[i]));
    if (lengths[i] > 0)
      coming.push_back(group_->recv(bytes_of(texts[i]), static_cast<int>(i), stream, label));
  }
  for (Handle& text : coming) text.wait(stream);
  return texts;
}

}  // namespace

std::unique_ptr<ControlPlane> make_control_plane(std::unique_ptr<Communicator> group) {
  return std::make_unique<CommunicatorControl>(std::move(group));
}

}  // namespace switchyard
