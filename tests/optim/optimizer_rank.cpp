#include "tests/optim/optimizer_rank.h"

#include <cmath>
#include <limits>

namespace switchyard::test {

ThreadRanksOptions delayed(uint64_t seed) {
  ThreadRanksOptions options;
  options.delay_and_poison = true;
  options.seed = seed;
  return options;
}

std::string device_name(const testing::TestParamInfo<Device>& info) {
  return std::string(name_of(info.param));
}

float initial_weight(size_t parameter, int64_t element) {
  return std::sin(static_cast<float>(parameter) * 3.0f + static_cast<float>(element));
}

std::vector<double> elements_of(const ShardedTensor& tensor, const Piece& piece) {
  return ops::test::values(
      Tensor(piece.data, tensor.dtype, {piece.box.extent.elements()}, tensor.device));
}

void collect(State& state, const std::vector<ShardedTensor>& tensors) {
  for (const ShardedTensor& t : tensors) {
    auto& global = state[t.name];
    global.resize(static_cast<size_t>(t.global.elements()),
                  std::numeric_limits<float>::quiet_NaN());
    const bool matrix = t.global.rank() == 2;
    const int64_t row_length = matrix ? t.global[1] : 1;
    for (const Piece& piece : t.pieces) {
      const auto numbers = elements_of(t, piece);
      const int64_t columns = matrix ? piece.box.extent[1] : 1;
      for (int64_t e = 0; e < piece.box.extent.elements(); ++e) {
        const int64_t row = piece.box.offset[0] + e / columns;
        const int64_t column = (matrix ? piece.box.offset[1] : 0) + e % columns;
        float& element = global.at(static_cast<size_t>(row * row_length + column));
        EXPECT_TRUE(std::isnan(element)) << t.name << " is stored twice";
        element = static_cast<float>(numbers[static_cast<size_t>(e)]);
      }
    }
  }
}

State Rank::state() {
  ops::test::stream_at_work = &stream;
  State all;
  collect(all, optimizer.state().tensors(StateUse::save));
  return all;
}

}  // namespace switchyard::test
