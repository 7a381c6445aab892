#include "tests/parallel/comm/rank_processes.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "core/error.h"
#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

namespace {

[[noreturn]] void in_child(int pipe, const std::function<std::string()>& body) {
  std::string text;
  try {
    text = body();
  } catch (const std::exception& error) {
    text = error.what();
  }
  const TcpSocket out(pipe);
  const ssize_t written = ::write(pipe, text.data(), text.size());
  std::_Exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
}

std::string read_all(int pipe) {
  char text[4096];
  std::string all;
  for (ssize_t n = 0; (n = ::read(pipe, text, sizeof text)) > 0;)
    all.append(text, static_cast<size_t>(n));
  ::close(pipe);
  return all;
}

}  // namespace

int free_port() { return port_of(listen_tcp(0)); }

std::vector<std::string> run_processes(int ranks, const std::function<std::string(int)>& body) {
  std::vector<int> pipes;
  for (int rank = 0; rank < ranks; ++rank) {
    int ends[2];
    if (::pipe(ends) != 0) return {};
    if (::fork() == 0) in_child(ends[1], [&] { return body(rank); });
    ::close(ends[1]);
    pipes.push_back(ends[0]);
  }
  std::vector<std::string> texts;
  texts.reserve(pipes.size());
  for (const int pipe : pipes) texts.push_back(read_all(pipe));
  while (::wait(nullptr) > 0) {
  }
  return texts;
}

}  // namespace switchyard
