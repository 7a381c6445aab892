#include <cstring>
#include <deque>

#include "core/memory.h"
#include "parallel/comm/checked_communicator.h"
#include "parallel/comm/communicators.h"

namespace switchyard {

namespace {

class SelfCommunicator final : public CheckedCommunicator {
 public:
  using CheckedCommunicator::CheckedCommunicator;

  std::unique_ptr<Communicator> split(int color, int, std::string name) override {
    if (color < 0) return nullptr;
    return make_self_communicator(std::move(name), self().world_rank);
  }

 private:
  // A message is copied when nobody waits for it yet, so a send is always finished at once.
  struct Message {
    Operation operation;
    Memory bytes;
  };
  struct Receive : Handle::Work {
    Receive(Member who, Operation what) : self(std::move(who)), operation(what) {}
    void wait(Stream&) override {
      if (!filled) fail_operation(self, operation, "nothing was sent; it would wait for ever");
    }
    Member self;
    Operation operation;
    bool filled = false;
  };

  bool moves(Device) const override { return true; }

  Handle start(const Operation& operation, Stream& stream) override {
    if (operation.kind == OperationKind::send) return send_to_self(operation, stream);
    if (operation.kind == OperationKind::recv) return receive_from_self(operation, stream);
    if (operation.in.data != operation.out.data)
      copy(operation.out.data, operation.in.data, operation.in, stream);
    return {};
  }

  static void copy(void* to, const void* from, const Buffer& like, Stream& stream) {
    if (like.device == Device::cuda) return copy_bytes(to, from, like.bytes(), stream);
    if (like.bytes() > 0) std::memmove(to, from, static_cast<size_t>(like.bytes()));
  }

  Handle send_to_self(const Operation& operation, Stream& stream) {
    if (!receives_.empty()) {
      const auto receive = receives_.front();
      receives_.pop_front();
      deliver(operation, operation.in.data, *receive, stream);
      return {};
    }
    Memory bytes(operation.in.bytes(), operation.in.device, "a message to the rank itself");
    copy(bytes.data(), operation.in.data, operation.in, stream);
    stream.synchronize();  // it may be received in another stream
    messages_.push_back({operation, std::move(bytes)});
    return {};
  }

  Handle receive_from_self(const Operation& operation, Stream& stream) {
    auto receive = std::make_shared<Receive>(self(), operation);
    if (messages_.empty()) {
      stream.synchronize();  // it is written in the sender's stream
      receives_.push_back(receive);
    } else {
      const Message message = std::move(messages_.front());
      messages_.pop_front();
      deliver(message.operation, message.bytes.data(), *receive, stream);
    }
    return Handle(receive);
  }

  // The host waits for a GPU, so that no order between the streams of the two ends is needed.
  void deliver(const Operation& sent, const void* data, Receive& receive, Stream& stream) const {
    const Buffer& out = receive.operation.out;
    if (sent.in.count != out.count || sent.in.dtype != out.dtype || sent.in.device != out.device)
      fail_operation(self(), receive.operation, "does not match " + describe(sent));
    copy(out.data, data, out, stream);
    stream.synchronize();
    receive.filled = true;
  }

  std::deque<Message> messages_;
  std::deque<std::shared_ptr<Receive>> receives_;
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator(std::string name, int world_rank) {
  return std::make_unique<SelfCommunicator>(
      Member{.rank = 0, .size = 1, .world_rank = world_rank, .group = std::move(name)});
}

std::unique_ptr<Communicator> make_self_communicator() {
  auto world = std::make_unique<SelfCommunicator>(Member{.group = "world"});
  world->set_control(make_control_plane(make_self_communicator("control", 0)));
  return world;
}

}  // namespace switchyard
