#include "parallel/comm/rendezvous/store.h"

#include "core/error.h"
#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

void Store::barrier(const std::string& name) {
  const auto arrived = [&](int rank) { return fmt::format("{}/arrived/{}", name, rank); };
  const std::string all = name + "/all";
  set(arrived(options_.rank), {});
  if (options_.rank == 0) {
    for (int rank = 0; rank < options_.size; ++rank) get(arrived(rank));
    set(all, {});
  }
  get(all);
}

void Store::check_not_stopped(const std::string& key) const {
  check(!stop_ends_waits(), ExitCode::stopped, "store",
        "rank {} of {} was stopped by a signal while it waited for {}", options_.rank,
        options_.size, key);
}

}  // namespace switchyard
