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

Fiber::Fiber(std::function<void()> work) : work_(std::move(work)) {
  inside_ = boost::context::fiber(std::allocator_arg, GuardedStack(),
                                  [this](boost::context::fiber&& outside) {
                                    outside_ = std::move(outside);
                                    loop();
                                    return std::move(outside_);
                                  });
}

Fiber::~Fiber() {
  stop_ = true;
  if (inside_) resume();
}

void Fiber::loop() {
  while (!stop_) {
    work_();
    if (!stop_) suspend();
  }
}

void Fiber::resume() { inside_ = std::move(inside_).resume(); }

void Fiber::suspend() { outside_ = std::move(outside_).resume(); }

}  // namespace emulated
