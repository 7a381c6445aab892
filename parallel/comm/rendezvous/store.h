#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace switchyard {

// Small values that ranks leave for each other before they can communicate otherwise. Each key is
// set once. Errors name key, rank and store; those of a timeout its length as well. A
// signal that asks to stop (core/stop_signal.h) ends a wait with the code `stopped`.
class Store {
 public:
  struct Options {
    int rank = 0;
    int size = 1;
    std::chrono::milliseconds timeout{60'000};
  };
  explicit Store(const Options& options) : options_(options) {}
  virtual ~Store() = default;

  virtual void set(const std::string& key, std::string_view value) = 0;
  virtual std::string get(const std::string& key) = 0;  // waits until it is set
  // Returns once every rank has called it with this name, which is used once.
  void barrier(const std::string& name);
  const Options& options() const { return options_; }

 protected:
  // A signal that asks to stop ends a wait: there is nothing to save yet.
  void check_not_stopped(const std::string& key) const;

 private:
  Options options_;
};

// In a folder that all ranks see, made where it is missing, which belongs to one start of one job.
std::unique_ptr<Store> make_file_store(const std::string& folder, const Store::Options& options);
// Rank 0 listens on `port` for all others, which find it at `host`. It must live until the others
// have what they need: end with a barrier.
std::unique_ptr<Store> make_tcp_store(const std::string& host, int port,
                                      const Store::Options& options);

}  // namespace switchyard
