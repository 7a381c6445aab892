#include "parallel/store.h"

#include "core/error.h"

namespace switchyard {

void Store::barrier(const std::string& name) {
  const auto arrived = [&](int rank) { return fmt::format("{}/arrived/{}", name, rank); };
  const std::string all = name + "/all";
  set(arrived(options_.rank), {});
  if (options_.rank == 0) {
    for (int rank = 0; rank < options_.size; ++rank) get(arrived(rank));
    set(all, {});
  }
  get(all);
}

}  // namespace switchyard
