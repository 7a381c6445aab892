#include "tests/emulated_cuda/fibers.h"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace emulated {

namespace {

// Pages are touched only when used; the lowest one faults.
struct GuardedStack {
  static constexpr size_t bytes = 128 << 10, guard = 4096;

  boost::context::stack_context allocate() {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, guard, PROT_NONE);
    boost::context::stack_context context;
    context.size = bytes;
    context.sp = static_cast<char*>(memory) + bytes;
    return context;
  }
  void deallocate(boost::context::stack_context& context) {
    munmap(static_cast<char*>(context.sp) - context.size, context.size);
  }
};

}  // namespace

void Context::switch_to(Context& other) {
  std::move(other.suspended_).resume_with([this](boost::context::fiber&& self) {
    suspended_ = std::move(self);
    return boost::context::fiber();
  });
}

Fiber::Fiber(std::function<Context&()> work) : work_(std::move(work)) {
  suspended_ =
      boost::context::fiber(std::allocator_arg, GuardedStack(), [this](boost::context::fiber&&) {
        while (stops_for_ == nullptr) switch_to(work_());
        return std::move(stops_for_->suspended_);
      });
}

// The work is not running: every thread has ended.
Fiber::~Fiber() {
  Context self;
  stops_for_ = &self;
  self.switch_to(*this);
}

}  // namespace emulated
