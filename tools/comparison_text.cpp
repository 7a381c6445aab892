#include "tools/comparison_text.h"

#include <fmt/ranges.h>

#include <cstdio>

namespace switchyard {

namespace {

Json place_json(const RecordComparison::Place& place) {
  return {{"step", place.step}, {"name", place.name}, {"a", place.a}, {"b", place.b}};
}

Json place_json(const CheckpointComparison::Place& place) {
  return {{"tensor", place.tensor}, {"index", place.index}, {"a", place.a}, {"b", place.b}};
}

std::string show(const RecordComparison::Place& place) {
  return fmt::format("step {}: {} {} and {}", place.step, place.name, place.a, place.b);
}

std::string show(const CheckpointComparison::Place& place) {
  return fmt::format("{}[{}]: {} and {}", place.tensor, fmt::join(place.index, ", "), place.a,
                     place.b);
}

template <class Found>
Json with_places(Json all, const Found& found) {
  if (!found.first) return all;
  all["first"] = place_json(*found.first);
  all["largest"] = place_json(*found.largest);
  all["largest"]["relative"] = relative_difference(found.largest->a, found.largest->b);
  return all;
}

template <class Found>
void print_both(const Found& found) {
  if (!found.first) return;
  std::printf("first:   %s\n", show(*found.first).c_str());
  std::printf("largest: %s (relative %.3g)\n", show(*found.largest).c_str(),
              relative_difference(found.largest->a, found.largest->b));
}

}  // namespace

Json comparison_json(const RecordComparison& found) {
  return with_places({{"common", found.common},
                      {"first_step", found.first_step},
                      {"last_step", found.last_step},
                      {"only_a", found.only_a},
                      {"only_b", found.only_b},
                      {"differing", found.differing}},
                     found);
}

Json comparison_json(const CheckpointComparison& found) {
  return with_places({{"tensors", found.tensors},
                      {"elements", found.elements},
                      {"differing_tensors", found.differing_tensors},
                      {"differing_elements", found.differing_elements},
                      {"only_a", found.only_a},
                      {"only_b", found.only_b},
                      {"unlike", found.unlike}},
                     found);
}

void print_places(const RecordComparison& found) { print_both(found); }
void print_places(const CheckpointComparison& found) { print_both(found); }

}  // namespace switchyard
