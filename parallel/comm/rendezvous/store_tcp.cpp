#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/logging.h"
#include "parallel/comm/rendezvous/job_identity.h"
#include "parallel/comm/rendezvous/store.h"
#include "parallel/comm/rendezvous/store_server.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

class TcpStore final : public Store {
 public:
  TcpStore(std::string host, int port, const Options& options, bool serves)
      : Store(options), host_(std::move(host)), port_(port) {
    check_descriptors(options.size, (serves ? options.size : 1) + descriptors_to_meet);
    if (serves) server_.emplace(port, options.size);
    connect();
    if (!connection_.write_text(StoreServer::greeting) ||
        !connection_.write_text(std::to_string(options.rank)) ||
        !connection_.write_text(std::to_string(options.size)) ||
        !connection_.write_text(job_identity().host) ||
        !connection_.write_text(std::to_string(getpid())))
      lost("greets");
    connection_.end_reads_at_stop(true);
  }

  // Others may still be reading what is here.
  ~TcpStore() override {
    const bool fails = std::uncaught_exceptions() > exceptions_;
    if (!fails) connection_.write_text(StoreServer::farewell);
    connection_ = TcpSocket();
    if (server_) server_->await_ends(fails ? 2s : options().timeout);
  }

  void ignore_stop() override {
    Store::ignore_stop();
    connection_.end_reads_at_stop(false);
  }

  std::unique_ptr<Store> duplicate() override {
    auto other = std::make_unique<TcpStore>(host_, port_, options(), false);
    other->ignore_stop();
    return other;
  }

  void set(const std::string& key, std::string_view value) override {
    check_size(key, value);
    const auto doing = [&] { return fmt::format("sets \"{}\"", key); };
    if (!connection_.write_text("set") || !connection_.write_text(key) ||
        !connection_.write_text(std::string(value)))
      lost(doing());
    check(answer(options().timeout, doing) == StoreServer::done, "store",
          "rank {} sets \"{}\", which {}:{} has already", options().rank, key, host_, port_);
  }

 private:
  std::string read(const std::string& key, const Reading& reading) override {
    const auto doing = [&] { return fmt::format("waited for \"{}\"", key); };
    if (!connection_.write_text(reading.removes ? "take" : "get") || !connection_.write_text(key))
      lost(doing());
    const std::string outcome = answer(reading.timeout, doing);
    std::string text;
    if (!connection_.read_text(text)) lost(doing());
    check(outcome == StoreServer::done, ExitCode::lost_peer, "store",
          "rank {} of {} {} in the store at {}:{}, but {} was lost", options().rank, options().size,
          doing(), host_, port_, text);
    return text;
  }

  template <class Doing>
  std::string answer(std::chrono::milliseconds timeout, const Doing& doing) {
    connection_.set_timeout(timeout);
    timeout_ = timeout;
    std::string first;
    if (!connection_.read_text(first)) lost(doing());
    if (first == StoreServer::refused) {
      std::string why;
      if (!connection_.read_text(why)) lost(doing());
      fail("store", "{}; the store at {}:{} refuses it", why, host_, port_);
    }
    return first;
  }

  void connect() {
    const auto begin = Clock::now(), deadline = begin + options().timeout;
    for (bool said = false;;) {
      // A cut cable answers nothing: the system alone would try for minutes.
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
      connection_ = connect_tcp(options().rank == 0 ? "127.0.0.1" : host_, port_,
                                std::clamp<std::chrono::milliseconds>(left, 1ms, 5s));
      if (connection_) return;
      const int why = errno;
      check_not_stopped("rank 0");
      check(Clock::now() < deadline, ExitCode::timed_out, "store",
            "rank {} of {} cannot reach rank 0 at {}:{} within {} ms (the timeout): {}",
            options().rank, options().size, host_, port_, options().timeout.count(),
            std::strerror(why));
      if (!said && Clock::now() - begin > 3s) {
        log::warning("rank {} of {} waits for rank 0 at {}:{} ({})", options().rank, options().size,
                     host_, port_, std::strerror(why));
        said = true;
      }
      std::this_thread::sleep_for(20ms);
    }
  }

  [[noreturn]] void lost(const std::string& doing) const {
    const int why = errno;
    if (why == EINTR) check_not_stopped("the store");
    const bool late = why == EAGAIN || why == EWOULDBLOCK;
    // Rank 0 is gone: its launcher gets a moment to end this rank with that one's exit code.
    if (!late) std::this_thread::sleep_for(2s);
    fail(late ? ExitCode::timed_out : ExitCode::lost_peer, "store",
         "rank {} of {} {} in the store at {}:{}: {}", options().rank, options().size, doing, host_,
         port_,
         late ? fmt::format("no answer after {} ms (the timeout)", timeout_.count())
              : std::strerror(why));
  }

  std::string host_;
  int port_;
  const int exceptions_ = std::uncaught_exceptions();
  std::chrono::milliseconds timeout_{};
  std::optional<StoreServer> server_;
  TcpSocket connection_;  // closed before the server ends
};

}  // namespace

std::unique_ptr<Store> make_tcp_store(const std::string& host, int port,
                                      const Store::Options& options) {
  return std::make_unique<TcpStore>(host, port, options, options.rank == 0);
}

}  // namespace switchyard
