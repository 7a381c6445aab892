#include <algorithm>
#include <exception>
#include <set>
#include <utility>

#include "parallel/comm/exchange_wait.h"
#include "parallel/comm/mpi/native.h"

namespace switchyard {

MpiGroup::MpiGroup(std::unique_ptr<Native> given, Member member, ProgressEngine& with,
                   std::chrono::milliseconds limit)
    : native(std::move(given)), self(std::move(member)), engine(with), timeout(limit) {}

MpiGroup::~MpiGroup() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized && std::uncaught_exceptions() == 0) MPI_Comm_free(&native->comm);
}

struct MpiTask::Messages {
  struct Message {
    int peer = 0;
    bool incoming = false;
    int64_t bytes = 0;
  };
  std::vector<MPI_Request> requests;
  std::vector<Message> of;  // each request
  std::vector<int> indices;
  std::vector<MPI_Status> statuses;
  size_t open = 0;

  void add(MPI_Request request, const Message& message) {
    requests.push_back(request);
    of.push_back(message);
    ++open;
  }
};

namespace {

// A long message goes in a fixed number of pieces: each counts under 2^31 bytes, their arrival
// shows progress, and messages of unlike lengths still differ in every piece.
struct Pieces {
  static constexpr int64_t whole_up_to = 1 << 20;
  int64_t bytes, piece;
  explicit Pieces(int64_t all) : bytes(all), piece(all) {
    if (all > whole_up_to) piece = (all + 15) / 16;
    constexpr int64_t most = 1 << 30;
    if (piece > most) piece = std::max<int64_t>((all + 1023) / 1024, 1);
    check(piece <= most, "mpi", "a message of {} bytes was given; 1 TiB is the longest", all);
  }
  template <class F>
  void for_each(F f) const {
    if (bytes == 0) f(0, 0);
    for (int64_t begin = 0; begin < bytes; begin += piece)
      f(begin, static_cast<int>(std::min(piece, bytes - begin)));
  }
};

}  // namespace

namespace {

// A broadcast is passed on by ranks between; everything short is the library's at once.
bool needs_turns(const Operation& operation) {
  constexpr int64_t eager_bytes = 4096;  // the lowest limit among Open MPI's transports
  return operation.kind == OperationKind::broadcast ||
         std::max(operation.in.bytes(), operation.out.bytes()) > eager_bytes;
}

}  // namespace

MpiTask::MpiTask(std::shared_ptr<MpiGroup> group, const Operation& operation)
    : ProgressTask(needs_turns(operation)),
      group_(std::move(group)),
      operation_(operation),
      messages_(std::make_unique<Messages>()) {}

MpiTask::~MpiTask() { group_->scratch.give_back(std::move(scratch_)); }

void MpiTask::send(const void* data, int64_t bytes, int peer, int tag) {
  Pieces(bytes).for_each([&](int64_t begin, int length) {
    MPI_Request request;
    check_mpi(MPI_Isend(static_cast<const std::byte*>(data) + begin, length, MPI_BYTE, peer, tag,
                        group_->native->comm, &request),
              "MPI_Isend");
    messages_->add(request, {.peer = peer, .incoming = false, .bytes = length});
  });
}

void MpiTask::recv(void* data, int64_t bytes, int peer, int tag) {
  Pieces(bytes).for_each([&](int64_t begin, int length) {
    MPI_Request request;
    check_mpi(MPI_Irecv(static_cast<std::byte*>(data) + begin, length, MPI_BYTE, peer, tag,
                        group_->native->comm, &request),
              "MPI_Irecv");
    messages_->add(request, {.peer = peer, .incoming = true, .bytes = length});
  });
}

std::byte* MpiTask::scratch(int64_t bytes) {
  if (bytes > 0) scratch_ = group_->scratch.take(bytes);
  return static_cast<std::byte*>(scratch_.data());
}

bool MpiTask::test() {
  Messages& m = *messages_;
  if (m.open == 0) return false;
  m.indices.resize(m.requests.size());
  m.statuses.resize(m.requests.size());
  int done = 0;
  const int code = MPI_Testsome(static_cast<int>(m.requests.size()), m.requests.data(), &done,
                                m.indices.data(), m.statuses.data());
  if (code != MPI_ERR_IN_STATUS) check_mpi(code, "MPI_Testsome");
  if (done == MPI_UNDEFINED) done = 0;
  for (int i = 0; i < done; ++i) {
    const auto& message = m.of[static_cast<size_t>(m.indices[static_cast<size_t>(i)])];
    const MPI_Status& status = m.statuses[static_cast<size_t>(i)];
    if (code == MPI_ERR_IN_STATUS && status.MPI_ERROR == MPI_ERR_TRUNCATE)
      fail("mpi", "rank {} sent more than the {} bytes expected here; the operations do not match",
           message.peer, message.bytes);
    if (code == MPI_ERR_IN_STATUS && status.MPI_ERROR != MPI_ERR_PENDING)
      check_mpi(status.MPI_ERROR, "a message");
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (message.incoming && bytes != message.bytes)
      fail("mpi", "rank {} sent {} bytes, {} were expected here; the operations do not match",
           message.peer, bytes, message.bytes);
  }
  m.open -= static_cast<size_t>(done);
  return done > 0;
}

bool MpiTask::poll() noexcept {
  const std::lock_guard lock(mutex_);
  try {
    bool moved = test();
    while (messages_->open == 0) {
      moved = true;
      if (step_ == steps_.size()) {
        finish();
        break;
      }
      messages_->requests.clear();
      messages_->of.clear();
      steps_[step_++]();
      test();
    }
    return moved;
  } catch (const std::exception& error) {
    failure_ = error.what();
    failure_code_ = code_of(error);
    new Memory(std::move(scratch_));  // never freed: messages that still arrive may write there
    finish();
    return true;
  }
}

std::vector<int> MpiTask::missing() {
  const std::lock_guard lock(mutex_);
  std::set<int> peers;
  for (size_t i = 0; i < messages_->requests.size(); ++i)
    if (messages_->requests[i] != MPI_REQUEST_NULL) peers.insert(messages_->of[i].peer);
  return world_ranks_of(group_->self, {peers.begin(), peers.end()});
}

void MpiTask::wait() {
  wait_for_exchange(group_->self, operation_,
                    {.wait = [&](auto turn) { return group_->engine.wait(*this, turn); },
                     .missing = [&] { return missing(); },
                     .timeout = group_->timeout});
  if (!failure_.empty()) fail_operation(group_->self, operation_, failure_, failure_code_);
  group_->scratch.give_back(std::exchange(scratch_, {}));
}

}  // namespace switchyard
