#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "core/error.h"
#include "launch/placement.h"
#include "parallel/comm/rendezvous/host_list.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// `each` ranks on each of `hosts` hosts, one GPU a rank.
std::vector<RankPlace> places(int hosts, int each) {
  std::vector<RankPlace> all;
  for (int rank = 0; rank < hosts * each; ++rank) {
    const int local = rank % each;
    all.push_back({.host = fmt::format("n{}", rank / each + 1),
                   .local_rank = local,
                   .process = 100 * (rank / each + 1) + local,
                   .device = fmt::format("GPU {}", local)});
  }
  return all;
}

TEST(HostList, is_short_and_keeps_the_order) {
  using Hosts = std::vector<std::string>;
  EXPECT_EQ(short_host_list(Hosts{"n1"}), "n1");
  EXPECT_EQ(short_host_list(Hosts{"n1", "n2", "n3", "n5", "login"}), "n[1-3,5],login");
  EXPECT_EQ(short_host_list(Hosts{"g-08", "g-09", "g-10", "g-7"}), "g-[08-10,7]");
  EXPECT_EQ(short_host_list(Hosts{"n9", "n10", "n2"}), "n[9-10,2]");
  EXPECT_EQ(short_host_list(Hosts{"a", "b"}), "a,b");
  EXPECT_EQ(short_host_list(Hosts{"12345678901234567890"}), "12345678901234567890");
  EXPECT_EQ(short_counts(std::array<int64_t, 4>{8, 8, 8, 4}), "8(x3),4");
  EXPECT_EQ(number_ranges(std::array<int64_t, 5>{0, 1, 2, 8, 5}), "0-2 8 5");
}

TEST(Placement, has_a_line_a_node) {
  EXPECT_THAT(describe_placement(places(2, 4), {.tp = 4, .dp = 2}),
              ElementsAre("n1: ranks 0-3 (local 0-3), tp 0-3, dp 0, GPU 0-3, processes 100-103",
                          "n2: ranks 4-7 (local 0-3), tp 0-3, dp 1, GPU 0-3, processes 200-203"));
  EXPECT_THAT(describe_placement(places(3, 1), {.pp = 3})[2],
              "n3: rank 2 (local 0), pp 2, GPU 0, process 300");
  auto dealt = places(1, 4);  // round robin over two nodes, on CPUs
  for (size_t i = 0; i < 4; ++i) {
    dealt[i].host = i % 2 == 0 ? "a" : "b";
    dealt[i].device = "cpu";
  }
  EXPECT_THAT(describe_placement(dealt, {.tp = 2, .pp = 2})[1],
              "b: ranks 1 3 (local 1 3), tp 1, pp 0-1, cpu, processes 101 103");
  EXPECT_THAT(describe_placement({}, {}), ElementsAre());
}

TEST(Placement, of_many_nodes_stays_short) {
  const auto lines = describe_placement(places(768, 8), {.tp = 8, .dp = 96, .pp = 8});
  EXPECT_THAT(lines, SizeIs(65));
  EXPECT_THAT(lines[63], HasSubstr("n64: ranks 504-511 (local 0-7), tp 0-7, pp 0, dp 63"));
  EXPECT_EQ(lines[64], "and 704 more nodes: n[65-768]");
}

TEST(Placement, warns_of_tp_groups_that_cross_nodes) {
  EXPECT_EQ(describe_crossing(places(2, 4), {.tp = 4, .dp = 2}), "");
  EXPECT_EQ(describe_crossing(places(2, 4), {.dp = 8}), "");
  EXPECT_THAT(describe_crossing(places(2, 3), {.tp = 2, .dp = 3}),
              AllOf(HasSubstr("1 of 3 tp groups cross nodes (world ranks 2 3"),
                    HasSubstr("a multiple of --tp 2 ranks on each node")));
  EXPECT_THAT(describe_crossing(places(4, 1), {.tp = 4}), HasSubstr("1 of 1 tp groups"));
}

TEST(FileSharing, groups_of_a_node_are_as_even_as_can_be) {
  const auto group = [](const std::vector<RankPlace>& all, int rank, int64_t writers) {
    return ranks_sharing_files(all, rank, writers);
  };
  EXPECT_THAT(group(places(2, 4), 1, 2), ElementsAre(0, 1));
  EXPECT_THAT(group(places(2, 4), 6, 2), ElementsAre(6, 7));
  EXPECT_THAT(group(places(2, 4), 5, 1), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(group(places(2, 4), 5, 4), ElementsAre(5));
  EXPECT_THAT(group(places(1, 3), 1, 2), ElementsAre(0, 1));
  EXPECT_THAT(group(places(1, 3), 2, 2), ElementsAre(2));
  auto dealt = places(1, 4);
  for (size_t i = 0; i < 4; ++i) dealt[i].host = i % 2 == 0 ? "a" : "b";
  EXPECT_THAT(group(dealt, 3, 1), ElementsAre(1, 3));
  EXPECT_THAT(group({}, 0, 1), ElementsAre(0));
}

TEST(FileSharing, more_writers_than_ranks_of_a_node_are_refused) {
  auto all = places(2, 3);
  all.push_back({.host = "n3"});
  const auto error = [&](int rank, int64_t writers) {
    try {
      ranks_sharing_files(all, rank, writers);
    } catch (const Error& problem) {
      return std::string(problem.what());
    }
    return std::string();
  };
  EXPECT_THAT(error(4, 4), HasSubstr("--save-writers-per-node 4; the node of rank 4 (n2) has 3 "
                                     "ranks; 1 to 3 is allowed"));
  EXPECT_THAT(error(6, 2), HasSubstr("the node of rank 6 (n3) has 1 rank; 1 to 1 is allowed"));
  EXPECT_THAT(error(0, 0), HasSubstr("1 to 3 is allowed"));
  EXPECT_EQ(error(0, 3), "");
}

}  // namespace
}  // namespace switchyard
