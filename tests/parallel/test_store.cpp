#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <thread>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/rendezvous/store.h"
#include "parallel/comm/rendezvous/tcp_socket.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using MakeStore = std::function<std::unique_ptr<Store>(const Store::Options&)>;

int free_port() { return port_of(listen_tcp(0)); }

// The text that a child process leaves in the pipe, or the error that it ended with.
std::string in_child(int pipe, const std::function<std::string()>& body) {
  std::string text;
  try {
    text = body();
  } catch (const Error& error) {
    text = error.what();
  }
  const TcpSocket out(pipe);
  const ssize_t written = ::write(pipe, text.data(), text.size());
  std::_Exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
}

std::vector<std::string> run_processes(int ranks, const MakeStore& make,
                                       const std::function<std::string(Store&)>& body) {
  std::vector<int> pipes;
  for (int rank = 0; rank < ranks; ++rank) {
    int ends[2];
    if (::pipe(ends) != 0) return {};
    if (::fork() == 0) {
      in_child(ends[1], [&] {
        const auto store = make({.rank = rank, .size = ranks, .timeout = 30s});
        return body(*store);
      });
    }
    ::close(ends[1]);
    pipes.push_back(ends[0]);
  }
  std::vector<std::string> texts;
  for (const int pipe : pipes) {
    char text[4096];
    std::string all;
    for (ssize_t n = 0; (n = ::read(pipe, text, sizeof text)) > 0;)
      all.append(text, static_cast<size_t>(n));
    texts.push_back(all);
    ::close(pipe);
  }
  while (::wait(nullptr) > 0) {
  }
  return texts;
}

// As the nccl communicator does it: rank 0 makes an id, which every rank gets.
std::string share_id(Store& store) {
  const std::string key = "nccl id";
  if (store.options().rank == 0) store.set(key, make_nccl_id());
  const std::string id = store.get(key);
  store.barrier("all have it");
  return id;
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
  expect_one_id(run_processes(8, make, share_id));
}

TEST(TcpStore, PassesARealNcclIdAmong8Processes) {
  if (!has_nccl()) GTEST_SKIP() << "this build has no NCCL";
  const int port = free_port();
  const auto make = [&](const Store::Options& o) { return make_tcp_store("localhost", port, o); };
  expect_one_id(run_processes(8, make, share_id));
}

TEST(TcpStore, ABarrierWaitsForTheLast) {
  const int port = free_port();
  const auto make = [&](const Store::Options& o) { return make_tcp_store("127.0.0.1", port, o); };
  const auto times = run_processes(3, make, [](Store& store) {
    const auto begin = std::chrono::steady_clock::now();
    if (store.options().rank == 1) std::this_thread::sleep_for(300ms);
    store.barrier("one");
    store.barrier("two");
    return std::to_string((std::chrono::steady_clock::now() - begin) / 1ms);
  });
  for (const std::string& time : times) EXPECT_GE(std::stoi(time), 200);
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
  EXPECT_THAT(error_of([&] { store.get("nccl id"); }),
              AllOf(HasSubstr("rank 0 of 2"), HasSubstr("\"nccl id\""), HasSubstr("150 ms"),
                    HasSubstr(place)));
}

TEST(FileStore, TimeoutNamesKeyAndRank) {
  const test::TemporaryFolder folder;
  const auto store = make_file_store(folder.path().string(), {.size = 2, .timeout = 150ms});
  expect_names(*store, folder.path().string());
  const auto again = make_file_store(folder.path().string(), {.size = 2, .timeout = 150ms});
  EXPECT_THAT(error_of([&] { again->barrier("all"); }), HasSubstr("all/arrived/1"));
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

}  // namespace

}  // namespace switchyard
