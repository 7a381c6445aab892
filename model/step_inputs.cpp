#include "model/step_inputs.h"

#include "core/error.h"

namespace switchyard {

void check_tokens(std::span<const int32_t> ids, std::string_view what, int64_t lowest,
                  int64_t vocabulary) {
  for (const int32_t id : ids) {
    check(id >= lowest && id < vocabulary, "microbatch",
          "{} contain {}; the vocabulary has {} tokens", what, id, vocabulary);
  }
}

}  // namespace switchyard
