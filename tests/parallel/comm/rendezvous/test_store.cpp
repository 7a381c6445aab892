#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <span>
#include <thread>
#include <vector>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/rendezvous/tcp_socket.h"
#include "tests/parallel/comm/rank_processes.h"
#include "tests/parallel/comm/rendezvous/store_clients.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
// The id that rank 0 makes and every rank gets, as the nccl communicator does it.
std::vector<std::string> share_id_among_8(const MakeStore& make) {
  return run_processes(8, [&](int rank) {
    const auto control = make_control_plane(make({.rank = rank, .size = 8, .timeout = 30s}));
    return control->broadcast(rank == 0 ? make_nccl_id() : std::string(), "id");
  });
}

bool has_nccl() { return nccl_version() > 0; }

void expect_one_id(const std::vector<std::string>& ids) {
  ASSERT_EQ(ids.size(), 8u);
  EXPECT_EQ(ids[0].size(), 128u) << ids[0];
  for (const std::string& id : ids) EXPECT_EQ(id, ids[0]);
}

TEST(FileStore, PassesARealNcclIdAmong8Processes) {
  if (!has_nccl()) GTEST_SKIP() << "this build has no NCCL";
  const test::TemporaryFolder folder;
  const std::string path = (folder.path() / "store").string();
  const auto make = [&](const Store::Options& o) { return make_file_store(path, o); };
  expect_one_id(share_id_among_8(make));
}

TEST(TcpStore, PassesARealNcclIdAmong8Processes) {
  if (!has_nccl()) GTEST_SKIP() << "this build has no NCCL";
  const int port = free_port();
  const auto make = [&](const Store::Options& o) { return make_tcp_store("localhost", port, o); };
  expect_one_id(share_id_among_8(make));
}

TEST(TcpStore, ABarrierWaitsForTheLast) {
  const int port = free_port();
  const auto times = run_processes(3, [&](int rank) {
    const auto control = make_control_plane(
        make_tcp_store("127.0.0.1", port, {.rank = rank, .size = 3, .timeout = 30s}));
    const auto begin = std::chrono::steady_clock::now();
    if (rank == 1) std::this_thread::sleep_for(300ms);
    control->barrier("one");
    control->barrier("two");
    return std::to_string((std::chrono::steady_clock::now() - begin) / 1ms);
  });
  for (const std::string& time : times) EXPECT_GE(std::stoi(time), 200);
}

// One thread of rank 0 serves them all; a connection each, and no more.
TEST(TcpStore, Serves300Clients) {
  const auto times = run_store_clients(300, 60s);
  EXPECT_GT(times.join, 0);
}

// What a rank that does not belong here gets to hear; "" where it is none.
std::string refusal_of(int port, const Store::Options& options) {
  const auto answers = run_processes(1, [&](int) -> std::string {
    try {
      make_tcp_store("127.0.0.1", port, options)->set("key", "value");
      return "";
    } catch (const Error& error) {
      return error.code() == ExitCode::usage ? error.what() : "another code";
    }
  });
  return answers[0];
}

TEST(TcpStore, RefusesOtherWorldsAndRanksThatComeTwice) {
  const int port = free_port();
  const auto first = make_tcp_store("127.0.0.1", port, {.size = 3, .timeout = 30s});
  const auto second = make_tcp_store("127.0.0.1", port, {.rank = 1, .size = 3, .timeout = 30s});
  const auto again = second->duplicate();
  EXPECT_THAT(refusal_of(port, {.rank = 2, .size = 4, .timeout = 30s}),
              AllOf(HasSubstr("rank 2 of 4 (process "), HasSubstr("was told of 3 ranks")));
  EXPECT_THAT(refusal_of(port, {.rank = 1, .size = 3, .timeout = 30s}),
              AllOf(HasSubstr("rank 1 of 3 (process "),
                    HasSubstr(fmt::format("is there already: process {} on ", getpid()))));
  again->set("here", "still");
  EXPECT_EQ(first->get("here"), "still");
  EXPECT_EQ(refusal_of(port, {.rank = 2, .size = 3, .timeout = 30s}), "");
}

// Bytes that are no rank's, and connections that say nothing, hold up nobody.
TEST(TcpStore, IsNotHeldUpByStrangers) {
  const int port = free_port();
  const auto store = make_tcp_store("127.0.0.1", port, {.size = 2, .timeout = 30s});
  const TcpSocket silent = connect_tcp("127.0.0.1", port);
  const TcpSocket stranger = connect_tcp("127.0.0.1", port);
  EXPECT_TRUE(stranger.write_text("GET / HTTP/1.1"));
  const TcpSocket huge = connect_tcp("127.0.0.1", port);
  const uint32_t length = 0xffffffff;
  EXPECT_TRUE(huge.write(&length, sizeof length));
  store->set("key", "value");
  EXPECT_EQ(store->get("key"), "value");
  std::string text;
  stranger.set_timeout(10s);
  huge.set_timeout(10s);
  EXPECT_FALSE(stranger.read_text(text));
  EXPECT_FALSE(huge.read_text(text));
}

// A rank may come late for what rank 0 has left behind, though nobody is waited for.
TEST(TcpStore, Rank0EndsAfterTheOthers) {
  const int port = free_port();
  const auto texts = run_processes(2, [&](int rank) {
    const auto store = make_tcp_store("127.0.0.1", port, {.rank = rank, .size = 2, .timeout = 30s});
    if (rank == 0) store->set("late", "still here");
    if (rank == 0) return store->take("here");
    store->set("here", "yes");
    std::this_thread::sleep_for(3s);
    return store->get("late");
  });
  EXPECT_THAT(texts, ElementsAre("yes", "still here"));
}

template <class F>
std::string error_of(F call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void expect_names(Store& store, const std::string& place) {
  store.set("present", "1");
  EXPECT_EQ(store.get("present"), "1");
  EXPECT_THAT(error_of([&] { store.set("present", "2"); }),
              AllOf(HasSubstr("\"present\""), HasSubstr("has already"), HasSubstr(place)));
  EXPECT_THAT(error_of([&] { store.set("long", std::string(Store::max_bytes + 1, 'x')); }),
              HasSubstr("16777217 bytes"));
  EXPECT_EQ(store.take("present"), "1");
  store.set("present", "2");
  EXPECT_EQ(store.duplicate()->get("present"), "2");
  EXPECT_THAT(error_of([&] { store.get("nccl id"); }),
              AllOf(HasSubstr("rank 0 of 2"), HasSubstr("\"nccl id\""), HasSubstr("150 ms"),
                    HasSubstr(place)));
}

TEST(FileStore, TimeoutNamesKeyAndRank) {
  const test::TemporaryFolder folder;
  const auto store = make_file_store(folder.path().string(), {.size = 2, .timeout = 150ms});
  expect_names(*store, folder.path().string());
}

// Whose keys would be taken for those of this start.
TEST(FileStore, AFolderThatAnotherStartHasUsedIsRefusedByEachRank) {
  const test::TemporaryFolder folder;
  const auto make = [&](int rank) {
    return make_file_store((folder.path() / "a" / "store").string(), {.rank = rank, .size = 2});
  };
  for (const int rank : {1, 0}) make(rank)->duplicate()->set(std::to_string(rank), "left behind");
  for (const int rank : {0, 1}) {
    EXPECT_THAT(error_of([&] { make(rank); }),
                AllOf(HasSubstr(fmt::format("rank {} finds", rank)), HasSubstr("a/store"),
                      HasSubstr("a folder of its own")));
  }
}

TEST(FileStore, KeepsAnyKeyAndValue) {
  const test::TemporaryFolder folder;
  const auto store = make_file_store(folder.path().string(), {});
  const std::string value("\0\n\xff", 3);
  for (const char* key : {"a/b", "a b", "a%2fb", "..", "\xc3\xa9"}) store->set(key, value + key);
  for (const char* key : {"a/b", "a b", "a%2fb", "..", "\xc3\xa9"})
    EXPECT_EQ(store->get(key), value + key);
}

TEST(TcpStore, TimeoutNamesKeyAndRank) {
  const int port = free_port();
  const auto store = make_tcp_store("127.0.0.1", port, {.size = 2, .timeout = 150ms});
  expect_names(*store, std::to_string(port));
}

// As behind a cut cable: what connects is not answered.
TEST(TcpStore, RespectsItsTimeoutWhereNothingAnswers) {
  const TcpSocket full = listen_tcp(0, "127.0.0.1");
  ASSERT_EQ(::listen(full.descriptor(), 0), 0);
  const int port = port_of(full);
  const TcpSocket waiting = connect_tcp("127.0.0.1", port);  // the one that the queue has room for
  const auto begin = std::chrono::steady_clock::now();
  const Store::Options second{.rank = 1, .size = 2, .timeout = 300ms};
  EXPECT_THAT(error_of([&] { make_tcp_store("127.0.0.1", port, second); }),
              AllOf(HasSubstr("rank 1 of 2 cannot reach rank 0"), HasSubstr("300 ms")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

TEST(TcpStore, NamesWhereNobodyListens) {
  const int port = free_port();
  const Store::Options second{.rank = 1, .size = 2, .timeout = 150ms};
  EXPECT_THAT(error_of([&] { make_tcp_store("127.0.0.1", port, second); }),
              AllOf(HasSubstr("rank 1 of 2"), HasSubstr(fmt::format("127.0.0.1:{}", port)),
                    HasSubstr("150 ms")));
  const TcpSocket taken = listen_tcp(port);
  EXPECT_THAT(error_of([&] { make_tcp_store("127.0.0.1", port, {.size = 2}); }),
              HasSubstr(fmt::format("port {}", port)));
}

// All open files of this process but `left`.
void use_up_descriptors(size_t left) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max = 64;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  std::vector<int> all;
  for (int next = ::dup(0); next >= 0; next = ::dup(0)) all.push_back(next);
  ASSERT_GE(all.size(), left);
  for (const int open : std::span(all).first(left)) ::close(open);
}

// Rank 0 has room for itself alone: listening, epoll, its waker and both ends of its connection.
TEST(TcpStore, EndsWhereRank0HasNoOpenFileForAnother) {
  const int port = free_port();
  const auto said = run_processes(2, [&](int rank) -> std::string {
    if (rank == 0) use_up_descriptors(5);
    try {
      const auto control = make_control_plane(
          make_tcp_store("127.0.0.1", port, {.rank = rank, .size = 2, .timeout = 60s}));
      control->barrier("one");
      return "all came";
    } catch (const Error& error) {
      return error.what();
    }
  });
  EXPECT_THAT(said[0], HasSubstr("a rank for which rank 0 has no open file left (Too many open"));
}

TEST(TcpStore, IsRefusedWhereItMayHaveTooFewOpenFiles) {
  const int port = free_port();
  const auto said = run_processes(1, [&](int) -> std::string {
    const rlimit limit{.rlim_cur = 17, .rlim_max = 17};
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return error_of([&] { make_tcp_store("127.0.0.1", port, {.size = 2, .timeout = 60s}); });
  });
  EXPECT_THAT(said[0], HasSubstr("2 ranks that talk over TCP need 66 open files each; ulimit -Hn "
                                 "allows 17"));
}

}  // namespace

}  // namespace switchyard
