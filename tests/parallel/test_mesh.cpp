#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/rank_places.h"
#include "parallel/mesh.h"

namespace switchyard {

namespace {

std::vector<Layout> layouts(int most_ranks) {
  std::vector<Layout> all;
  for (int tp = 1; tp <= most_ranks; ++tp)
    for (int dp = 1; tp * dp <= most_ranks; ++dp)
      for (int pp = 1; tp * dp * pp <= most_ranks; ++pp)
        all.push_back({.tp = tp, .cp = 1, .dp = dp, .pp = pp});
  return all;
}

// The world ranks of a group, in the group's order.
std::vector<int32_t> members(Communicator& group, int world_rank) {
  Stream stream;
  std::vector<int32_t> mine{world_rank}, all(static_cast<size_t>(group.size()));
  group.all_gather(std::span(mine), std::span(all), stream, {"members"}).wait(stream);
  return all;
}

std::vector<int32_t> ranks_along(const Layout& layout, Coordinates place, int Coordinates::*axis,
                                 int extent) {
  std::vector<int32_t> ranks;
  for (place.*axis = 0; place.*axis < extent; ++(place.*axis))
    ranks.push_back(rank_of(layout, place));
  return ranks;
}

void check_mesh(const Layout& layout, Communicator& world) {
  Mesh mesh = make_mesh(layout, world);
  const Coordinates place = coordinates_of(layout, world.rank());
  EXPECT_EQ(mesh.place, place);
  const int rank = world.rank();
  EXPECT_EQ(members(*mesh.tp, rank), ranks_along(layout, place, &Coordinates::tp, layout.tp));
  EXPECT_EQ(members(*mesh.dp, rank), ranks_along(layout, place, &Coordinates::dp, layout.dp));
  const auto stages = ranks_along(layout, place, &Coordinates::pp, layout.pp);
  EXPECT_EQ(members(*mesh.pp, rank), stages);
  EXPECT_EQ(mesh.pp->rank(), place.pp);
  EXPECT_EQ(mesh.checkpoint->size(), world.size());
  EXPECT_EQ(mesh.checkpoint->rank(), rank);
  ASSERT_EQ(mesh.embedding != nullptr, mesh.first_stage() || mesh.last_stage());
  if (!mesh.embedding) return;
  std::vector<int32_t> ends{stages.front()};
  if (layout.pp > 1) ends.push_back(stages.back());
  EXPECT_EQ(members(*mesh.embedding, rank), ends);
}

TEST(Layout, RanksAndPlacesAreOneToOne) {
  for (const Layout& layout : layouts(24)) {
    std::set<std::tuple<int, int, int>> places;
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      const Coordinates c = coordinates_of(layout, rank);
      EXPECT_EQ(rank_of(layout, c), rank);
      places.insert({c.tp, c.dp, c.pp});
    }
    EXPECT_EQ(static_cast<int>(places.size()), layout.ranks());
  }
}

TEST(Layout, TensorParallelRanksAreNeighbours) {
  const Layout layout{.tp = 2, .cp = 1, .dp = 3, .pp = 2};
  EXPECT_EQ(coordinates_of(layout, 1), (Coordinates{.tp = 1}));
  EXPECT_EQ(coordinates_of(layout, 2), (Coordinates{.dp = 1}));
  EXPECT_EQ(coordinates_of(layout, 6), (Coordinates{.pp = 1}));
  EXPECT_EQ(layout.to_string(), "tp 2 x pp 2 x dp 3");
}

TEST(Mesh, GroupsAreTheLinesOfTheGrid) {
  for (const Layout& layout : layouts(8))
    run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) { check_mesh(layout, world); });
}

TEST(Mesh, RefusesWhatDoesNotFit) {
  const auto self = make_self_communicator();
  EXPECT_THROW(make_mesh({.tp = 2}, *self), Error);
  EXPECT_THROW(make_mesh({.cp = 2}, *self), Error);
  EXPECT_THROW(make_mesh({.dp = 0}, *self), Error);
  EXPECT_THROW(coordinates_of({.tp = 2}, 2), Error);
  EXPECT_THROW(rank_of({.tp = 2}, {.tp = 2}), Error);
}

// The last test: this process keeps the places.
TEST(Mesh, RanksOfAMachineHaveANode) {
  run_thread_ranks(5, {}, [](Communicator& world) {
    EXPECT_EQ(make_mesh({.dp = 5}, world).node, nullptr);
    const int rank = world.rank();
    exchange_rank_places(world.control(), {.host = rank == 2 ? "n2" : rank == 3 ? "n3" : "n1"});
    world.control().barrier("places");
    const Mesh mesh = make_mesh({.dp = 5}, world);
    ASSERT_EQ(mesh.node != nullptr, rank != 2 && rank != 3);
    if (!mesh.node) return;
    EXPECT_EQ(mesh.node->size(), 3);
    EXPECT_EQ(mesh.node->rank(), rank == 4 ? 2 : rank);
    EXPECT_EQ(mesh.node->broadcast(std::to_string(rank), "first"), "0");
  });
}

}  // namespace

}  // namespace switchyard
