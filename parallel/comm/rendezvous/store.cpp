#include "parallel/comm/rendezvous/store.h"

#include "core/error.h"
#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

static_assert(Store::max_bytes <= TcpSocket::most_text_bytes);

void Store::check_size(const std::string& key, std::string_view value) const {
  check(value.size() <= max_bytes, "store",
        "rank {} sets \"{}\" to {} bytes; at most {} are allowed", options_.rank, key, value.size(),
        max_bytes);
}

void Store::check_not_stopped(const std::string& key) const {
  check(!stop_ends_waits_ || !stop_ends_waits(), ExitCode::stopped, "store",
        "rank {} of {} was stopped by a signal while it waited for {}", options_.rank,
        options_.size, key);
}

}  // namespace switchyard
