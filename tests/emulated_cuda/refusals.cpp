#include "tests/emulated_cuda/refusals.h"

#include <cstdlib>
#include <sstream>
#include <string>

namespace emulated {

bool refuses(std::string_view call, std::string_view of) {
  const char* told = std::getenv("SWITCHYARD_EMULATED_REFUSALS");
  if (told == nullptr) return false;
  std::string wanted(call);
  if (!of.empty()) wanted.append(1, ':').append(of);
  std::istringstream words(told);
  for (std::string word; std::getline(words, word, ',');) {
    if (word == wanted) return true;
  }
  return false;
}

}  // namespace emulated
