#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/logging.h"
#include "parallel/comm/rendezvous/store.h"
#include "parallel/comm/rendezvous/store_server.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

class TcpStore final : public Store {
 public:
  TcpStore(std::string host, int port, const Options& options)
      : Store(options), host_(std::move(host)), port_(port) {
    if (options.rank == 0) server_.emplace(port);
    connect();
    connection_.set_timeout(options.timeout);
    if (!connection_.write_text(StoreServer::greeting)) lost("greets");
  }
  ~TcpStore() override { connection_ = TcpSocket(); }

  void set(const std::string& key, std::string_view value) override {
    std::string answer;
    if (!connection_.write_text("set") || !connection_.write_text(key) ||
        !connection_.write_text(std::string(value)) || !connection_.read_text(answer))
      lost(fmt::format("sets \"{}\"", key));
    check(answer == "done", "store", "rank {} sets \"{}\", which {}:{} has already", options().rank,
          key, host_, port_);
  }

  std::string get(const std::string& key) override {
    std::string value;
    if (!connection_.write_text("get") || !connection_.write_text(key) ||
        !connection_.read_text(value))
      lost(fmt::format("waited for \"{}\"", key));
    return value;
  }

 private:
  void connect() {
    const auto begin = Clock::now(), deadline = begin + options().timeout;
    for (bool said = false;;) {
      connection_ = connect_tcp(options().rank == 0 ? "127.0.0.1" : host_, port_);
      if (connection_) return;
      const int why = errno;
      check_not_stopped("rank 0");
      check(Clock::now() < deadline, ExitCode::lost_peer, "store",
            "rank {} of {} cannot reach rank 0 at {}:{} within {} ms (the timeout): {}",
            options().rank, options().size, host_, port_, options().timeout.count(),
            std::strerror(why));
      if (!said && Clock::now() - begin > std::chrono::seconds(3)) {
        log::warning("rank {} of {} waits for rank 0 at {}:{} ({})", options().rank, options().size,
                     host_, port_, std::strerror(why));
        said = true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  [[noreturn]] void lost(const std::string& doing) const {
    if (errno == EINTR) check_not_stopped("the store");
    const bool late = errno == EAGAIN || errno == EWOULDBLOCK;
    const std::string why =
        late ? fmt::format("no answer after {} ms (the timeout)", options().timeout.count())
             : std::strerror(errno);
    fail(ExitCode::lost_peer, "store", "rank {} of {} {} in the store at {}:{}: {}", options().rank,
         options().size, doing, host_, port_, why);
  }

  std::string host_;
  int port_;
  std::optional<StoreServer> server_;
  TcpSocket connection_;  // closed before the server ends
};

}  // namespace

std::unique_ptr<Store> make_tcp_store(const std::string& host, int port,
                                      const Store::Options& options) {
  return std::make_unique<TcpStore>(host, port, options);
}

}  // namespace switchyard
