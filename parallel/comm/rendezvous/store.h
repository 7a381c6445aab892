#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace switchyard {

// Small values that ranks leave for each other; through them they find each other and agree
// (control_plane.h). A key is set once, until it is taken. Errors name key, rank and store; those
// of a timeout its length as well. At first a signal that asks to stop (core/stop_signal.h) ends a
// wait with the code `stopped`: there is nothing to save yet. Used by one thread at a time.
class Store {
 public:
  struct Options {
    int rank = 0;
    int size = 1;
    std::chrono::milliseconds timeout{60'000};
  };
  explicit Store(const Options& options) : options_(options) {}
  virtual ~Store() = default;

  // At most max_bytes.
  virtual void set(const std::string& key, std::string_view value) = 0;
  // Wait until it is set.
  std::string get(const std::string& key) { return get(key, options_.timeout); }
  std::string get(const std::string& key, std::chrono::milliseconds timeout) {
    return read(key, {.timeout = timeout});
  }
  std::string take(const std::string& key) {  // and removes it
    return read(key, {.removes = true, .timeout = options_.timeout});
  }
  virtual void ignore_stop() { stop_ends_waits_ = false; }  // from here on
  // Another way to the same values, for another thread; ends before this one. It ignores stops.
  virtual std::unique_ptr<Store> duplicate() = 0;
  const Options& options() const { return options_; }
  static constexpr size_t max_bytes = 1 << 24;

 protected:
  struct Reading {
    bool removes = false;
    std::chrono::milliseconds timeout{};
  };
  virtual std::string read(const std::string& key, const Reading& reading) = 0;
  void check_size(const std::string& key, std::string_view value) const;
  void check_not_stopped(const std::string& key) const;

 private:
  Options options_;
  bool stop_ends_waits_ = true;
};

// In a folder that all ranks see, made where it is missing, which belongs to one start of one job:
// throws Error where another start has had it.
std::unique_ptr<Store> make_file_store(const std::string& folder, const Store::Options& options);
// Rank 0 listens on `port` for all others, which find it at `host`. There its end waits for that of
// the others, up to the timeout. A rank that is gone ends the others' waits.
std::unique_ptr<Store> make_tcp_store(const std::string& host, int port,
                                      const Store::Options& options);

}  // namespace switchyard
