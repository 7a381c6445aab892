#include <cstring>
#include <deque>
#include <vector>

#include "parallel/communicators.h"
#include "parallel/host_communicator.h"

namespace switchyard {

namespace {

class SelfCommunicator final : public HostCommunicator {
 public:
  using HostCommunicator::HostCommunicator;

  std::unique_ptr<Communicator> split(int color, int, std::string name) override {
    if (color < 0) return nullptr;
    return make_self_communicator(std::move(name), self().world_rank);
  }

 private:
  // A message is copied when nobody waits for it yet, so a send is always finished at once.
  struct Message {
    Operation operation;
    std::vector<std::byte> bytes;
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

  Handle start(const Operation& operation) override {
    if (operation.kind == OperationKind::send) return send_to_self(operation);
    if (operation.kind == OperationKind::recv) return receive_from_self(operation);
    if (operation.in.data != operation.out.data && operation.in.bytes() > 0)
      std::memcpy(operation.out.data, operation.in.data, static_cast<size_t>(operation.in.bytes()));
    return {};
  }

  Handle send_to_self(const Operation& operation) {
    if (!receives_.empty()) {
      const auto receive = receives_.front();
      receives_.pop_front();
      deliver(operation, operation.in.data, *receive);
      return {};
    }
    const auto* begin = static_cast<const std::byte*>(operation.in.data);
    messages_.push_back({operation, {begin, begin + operation.in.bytes()}});
    return {};
  }

  Handle receive_from_self(const Operation& operation) {
    auto receive = std::make_shared<Receive>(self(), operation);
    if (messages_.empty()) {
      receives_.push_back(receive);
    } else {
      const Message message = std::move(messages_.front());
      messages_.pop_front();
      deliver(message.operation, message.bytes.data(), *receive);
    }
    return Handle(receive);
  }

  void deliver(const Operation& sent, const void* data, Receive& receive) const {
    const Buffer& out = receive.operation.out;
    if (sent.in.count != out.count || sent.in.dtype != out.dtype)
      fail_operation(self(), receive.operation, "does not match " + describe(sent));
    if (out.bytes() > 0) std::memmove(out.data, data, static_cast<size_t>(out.bytes()));
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
  return make_self_communicator("world", 0);
}

}  // namespace switchyard
