#include <exception>
#include <thread>

#include "core/logging.h"
#include "core/text.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/tcp/communicator.h"
#include "parallel/comm/tcp/meeting.h"

namespace switchyard {

struct TcpEnvironment::State {
  State(std::chrono::milliseconds limit, int rank, std::vector<TcpPeer> peers)
      : timeout(limit), size(static_cast<int>(peers.size())), network(rank, std::move(peers)) {}
  const std::chrono::milliseconds timeout;
  const int exceptions = std::uncaught_exceptions();
  const int size;
  TcpNetwork network;
  std::unique_ptr<Communicator> world;
};

TcpEnvironment::TcpEnvironment(const Options& options, ControlPlane& control) {
  const Meeting meeting{.timeout = options.timeout,
                        .host = options.host,
                        .interface_name = options.interface_name,
                        .through_memory = options.through_memory};
  state_ = std::make_unique<State>(options.timeout, control.rank(), connect_all(meeting, control));
  state_->world = make_tcp_world(state_->network, state_->size, options.timeout);
}

TcpEnvironment::~TcpEnvironment() {
  // What an exception leaves behind the others see as a rank that is gone.
  if (std::uncaught_exceptions() > state_->exceptions) return;
  if (!state_->network.drain(state_->timeout)) {
    log::error("operations that nobody waited for have not ended after {} ms",
               state_->timeout.count());
    return;
  }
  state_->network.end_in_order(state_->timeout);
}

Communicator& TcpEnvironment::world() { return *state_->world; }

}  // namespace switchyard
