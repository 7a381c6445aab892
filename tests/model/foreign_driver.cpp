// What check_foreign.py compares with transformers:
//   foreign_driver logits FOLDER TOKEN ...    reference_logits as raw fp32
//   foreign_driver config FILE f32|bf16|f16   the file read and written again
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "model/exchange/foreign_config.h"
#include "model/exchange/reference_logits.h"

namespace {

int run(int argc, char** argv) {
  using namespace switchyard;
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "logits" && argc > 3) {
    std::vector<int32_t> tokens;
    for (int i = 3; i < argc; ++i) tokens.push_back(std::atoi(argv[i]));
    const std::vector<float> logits = reference_logits(argv[2], tokens);
    return std::fwrite(logits.data(), sizeof(float), logits.size(), stdout) == logits.size() ? 0
                                                                                             : 1;
  }
  if (command == "config" && argc == 4) {
    const ForeignConfig read = read_foreign_config(read_file(argv[2]), argv[2]);
    const std::string text =
        write_foreign_config(read.config, read.architecture, dtype_named(argv[3]));
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  std::fputs("foreign_driver logits FOLDER TOKEN ... | config FILE DTYPE\n", stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
}
