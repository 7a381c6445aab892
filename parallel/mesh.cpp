#include "parallel/mesh.h"

#include <utility>
#include <vector>

#include "core/error.h"
#include "parallel/comm/rank_places.h"

namespace switchyard {

namespace {

void check_layout(const Layout& layout) {
  check(layout.tp >= 1 && layout.dp >= 1 && layout.pp >= 1, "mesh",
        "layout {}; every axis is at least 1", layout.to_string());
  check(layout.cp == 1, "mesh", "cp {} was given; only 1 is allowed so far", layout.cp);
}

// The ranks that differ from `place` in one axis only share this color: the rank with 0 there.
int color_along(int Coordinates::*axis, const Layout& layout, Coordinates place) {
  place.*axis = 0;
  return rank_of(layout, place);
}

std::unique_ptr<Communicator> split_along(int Coordinates::*axis, const char* name,
                                          const Mesh& mesh) {
  return mesh.world->split(color_along(axis, mesh.layout, mesh.place), mesh.place.*axis, name);
}

std::unique_ptr<ControlPlane> ranks_of_node(Communicator& world) {
  const auto places = rank_places();
  if (std::ssize(places) != world.size() || world.size() == 1) return nullptr;
  std::vector<int> own;
  for (int rank = 0; rank < world.size(); ++rank) {
    const auto& host = places[static_cast<size_t>(rank)].host;
    if (host == places[static_cast<size_t>(world.rank())].host) own.push_back(rank);
  }
  auto node = world.control().split(own, "node");
  return own.size() > 1 ? std::move(node) : nullptr;
}

}  // namespace

std::string Layout::to_string() const { return fmt::format("tp {} x pp {} x dp {}", tp, pp, dp); }

Coordinates coordinates_of(const Layout& layout, int rank) {
  check_layout(layout);
  check(rank >= 0 && rank < layout.ranks(), "mesh", "rank {}; {} has ranks 0 ... {}", rank,
        layout.to_string(), layout.ranks() - 1);
  Coordinates place;
  place.tp = rank % layout.tp;
  rank /= layout.tp;
  place.cp = rank % layout.cp;
  rank /= layout.cp;
  place.dp = rank % layout.dp;
  place.pp = rank / layout.dp;
  return place;
}

int rank_of(const Layout& layout, const Coordinates& place) {
  check_layout(layout);
  const auto within = [](int value, int extent) { return value >= 0 && value < extent; };
  check(within(place.tp, layout.tp) && within(place.cp, layout.cp) && within(place.dp, layout.dp) &&
            within(place.pp, layout.pp),
        "mesh", "place tp {} cp {} dp {} pp {} is outside of {}", place.tp, place.cp, place.dp,
        place.pp, layout.to_string());
  return place.tp + layout.tp * (place.cp + layout.cp * (place.dp + layout.dp * place.pp));
}

Mesh make_mesh(const Layout& layout, Communicator& world) {
  check_layout(layout);
  check(world.size() == layout.ranks(), "mesh", "the world has {} ranks; {} needs {}", world.size(),
        layout.to_string(), layout.ranks());
  Mesh mesh;
  mesh.layout = layout;
  mesh.place = coordinates_of(layout, world.rank());
  mesh.world = &world;
  mesh.tp = split_along(&Coordinates::tp, "tp", mesh);
  mesh.dp = split_along(&Coordinates::dp, "dp", mesh);
  mesh.pp = split_along(&Coordinates::pp, "pp", mesh);
  const bool at_an_end = mesh.first_stage() || mesh.last_stage();
  mesh.embedding = world.split(at_an_end ? color_along(&Coordinates::pp, layout, mesh.place) : -1,
                               mesh.place.pp, "embedding");
  mesh.checkpoint = world.control().duplicate("checkpoint");
  mesh.node = ranks_of_node(world);
  return mesh;
}

}  // namespace switchyard
