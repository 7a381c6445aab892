#include "parallel/comm/rendezvous/network_interfaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(NetworkInterfaces, HaveTheLoopback) {
  const auto all = network_interfaces();
  const auto lo = std::ranges::find(all, "127.0.0.1", &NetworkInterface::address);
  ASSERT_NE(lo, all.end());
  EXPECT_TRUE(lo->loopback);
  EXPECT_EQ(address_of_interface(lo->name), "127.0.0.1");
}

TEST(NetworkInterfaces, OneThatIsNotThereIsRefusedWithThoseThatAre) {
  try {
    address_of_interface("no-such-one");
    ADD_FAILURE() << "it was found";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("--interface no-such-one"),
                                    HasSubstr(network_interfaces().front().name)));
  }
}

TEST(NetworkInterfaces, TheRouteToThisMachineIsItsOwnAddress) {
  EXPECT_EQ(address_towards("127.0.0.1"), "127.0.0.1");
  for (const NetworkInterface& each : network_interfaces())
    EXPECT_EQ(address_towards(each.address), each.address);
  EXPECT_EQ(address_towards("no.such.host.invalid"), "");
}

TEST(NetworkInterfaces, AnotherMachineIsNotThisOne) {
  const auto here = [](const std::string& host) { return are_of_this_machine(addresses_of(host)); };
  EXPECT_TRUE(here("localhost"));
  EXPECT_TRUE(here(first_address()));
  EXPECT_FALSE(here("192.0.2.1"));
  EXPECT_FALSE(here("no.such.host.invalid"));
}

// Others are told of it, so it must be one that can be listened at.
TEST(NetworkInterfaces, TheFirstAddressIsOneOfThisMachine) {
  EXPECT_TRUE(static_cast<bool>(listen_tcp(0, first_address()))) << first_address();
  EXPECT_FALSE(static_cast<bool>(listen_tcp(0, "no address")));
}

}  // namespace

}  // namespace switchyard
