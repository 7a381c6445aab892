#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/comm/communicators.h"
#include "parallel/mesh.h"
#include "tests/parallel/comm/collective_cases.h"
#include "tests/parallel/comm/control_cases.h"
#include "tests/parallel/comm/tcp_ranks.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

constexpr auto timeout = 20s;

class TcpCommunicator : public testing::TestWithParam<int> {};

TEST_P(TcpCommunicator, AllOperationsMatchPlainLoops) {
  run_tcp_ranks(GetParam(), timeout, [](Communicator& world) {
    check_collectives(world, 100);
    check_messages(world, 200);
    for (uint64_t seed = 300; seed < 305; ++seed) check_groups(world, seed);
    check_refusals(world);
  });
}

TEST_P(TcpCommunicator, ControlPlane) {
  run_tcp_ranks(GetParam(), timeout, [](Communicator& world) {
    check_texts(world.control());
    check_agreement(world.control());
    check_two_threads(world.control(), 100);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, TcpCommunicator, testing::Values(2, 3, 5));

}  // namespace

}  // namespace switchyard
