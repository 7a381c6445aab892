#pragma once

#include <boost/context/fiber.hpp>
#include <functional>
#include <memory>
#include <vector>

namespace emulated {

// A stack of its own for running device threads; it is suspended inside wait() and idle after its
// work returns.
class Fiber {
 public:
  explicit Fiber(std::function<void()> work);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();   // from outside; returns when the work has ended or calls suspend()
  void suspend();  // from inside

 private:
  void loop();
  std::function<void()> work_;
  bool stop_ = false;
  boost::context::fiber inside_, outside_;
};

}  // namespace emulated
