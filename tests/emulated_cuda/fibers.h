#pragma once

#include <boost/context/fiber.hpp>
#include <functional>

namespace emulated {

// Something that runs on a stack: a fiber, or the host thread that switches to one.
class Context {
 public:
  // Suspends the caller, which must be this one, and goes on with `other` where that was suspended;
  // returns when somebody switches back.
  void switch_to(Context& other);

 private:
  friend class Fiber;
  boost::context::fiber suspended_;
};

// A stack of its own that runs `work`, again each time that it is switched to after an end.
// The work names whom to switch to when it ends.
class Fiber : public Context {
 public:
  explicit Fiber(std::function<Context&()> work);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

 private:
  std::function<Context&()> work_;
  Context* stops_for_ = nullptr;
};

}  // namespace emulated
