#include "tests/emulated_cuda/faults.h"

#include <sys/mman.h>

#include <bit>
#include <csignal>
#include <cstring>
#include <memory>

#include "tests/emulated_cuda/block.h"
#include "tests/emulated_cuda/memory_space.h"
#include "tests/emulated_cuda/report.h"

namespace emulated {

namespace {

constexpr size_t stack_bytes = 256 << 10;

// The program is about to end, so the tables are read without their lock.
void explain(int signal, siginfo_t* information, void*) {
  std::signal(signal, SIG_DFL);
  const void* address = information->si_addr;
  static char text[512];
  for (MemorySpace* space : {&device_space(), &pinned_space()}) {
    if (!space->owns(address)) continue;
    std::string where = space->describe(address);
    if (here.kernel == nullptr && space->find(address) != nullptr) {
      where = "the host touches " + where;
    }
    std::strncpy(text, where.c_str(), sizeof text - 1);
    report_fault(text);
  }
  if (here.kernel != nullptr) {
    report_fault(
        "an access to host memory that does not exist, past the end of dynamic shared "
        "memory, or a full stack (128 KiB a thread)");
  }
}

}  // namespace

void install_fault_handler() {
  use_fault_stack();
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_sigaction = explain;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    return true;
  }();
  static_cast<void>(installed);
}

void use_fault_stack() {
  struct Stack {
    Stack() {
      stack_t stack{};
      stack.ss_sp = memory.get();
      stack.ss_size = stack_bytes;
      sigaltstack(&stack, nullptr);
    }
    ~Stack() {
      stack_t stack{};
      stack.ss_flags = SS_DISABLE;
      sigaltstack(&stack, nullptr);
    }
    std::unique_ptr<char[]> memory = std::make_unique<char[]>(stack_bytes);
  };
  static thread_local Stack stack;
  static_cast<void>(stack);
}

}  // namespace emulated
