#pragma once

#include <cstddef>
#include <vector>

namespace emulated {

// The __shared__ variables of this host thread, found by their tag in the program's symbols, so
// that what an earlier block left in them is gone: they hold 0xff (no number) when a block begins.
class SharedVariables {
 public:
  SharedVariables();
  void begin_launch();
  void begin_block();

 private:
  struct Variable {
    unsigned char* at;
    size_t bytes;
  };
  std::vector<Variable> all_;
  std::vector<Variable> used_;  // those that the launch's first block has written
  int blocks_ = 0;
};

}  // namespace emulated
