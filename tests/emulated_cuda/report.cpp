#include "tests/emulated_cuda/report.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/emulated_cuda/block.h"

namespace emulated {

namespace {

// Without allocation, as signal handlers need it.
void print_place(const char* what) {
  char line[512];
  int length = 0;
  if (here.kernel != nullptr) {
    length = std::snprintf(line, sizeof line,
                           "emulated CUDA: kernel %s, block (%u,%u,%u) of (%u,%u,%u), thread %u of "
                           "%u: ",
                           here.kernel, here.block.x, here.block.y, here.block.z, here.blocks.x,
                           here.blocks.y, here.blocks.z, here.thread.x, here.threads.x);
  } else {
    length = std::snprintf(line, sizeof line, "emulated CUDA: ");
  }
  auto print = [](const char* text, size_t size) {
    if (write(STDERR_FILENO, text, size) < 0) std::abort();
  };
  print(line, static_cast<size_t>(length));
  print(what, std::strlen(what));
  print("\n", 1);
}

}  // namespace

std::string name_of(const Where& where) {
  const std::string file = where.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line());
}

void report(const std::string& what) {
  print_place(what.c_str());
  std::abort();
}

void report_fault(const char* what) {
  print_place(what);
  std::abort();
}

void complain(const char* function, const std::string& what) {
  std::fprintf(stderr, "emulated CUDA: %s: %s\n", function, what.c_str());
}

}  // namespace emulated
