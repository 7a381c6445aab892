#include "parallel/comm/thread/exchange.h"

#include <algorithm>
#include <set>
#include <thread>

#include "core/error.h"
#include "parallel/comm/rank_places.h"

namespace switchyard {

void ThreadWorld::fail_with(std::exception_ptr first, const std::string& text) {
  const std::lock_guard lock(mutex);
  if (!error) {
    error = std::move(first);
    failure = text;
  }
  changed.notify_all();
}

Mover& ThreadWorld::mover(Device device) {
  auto& found = movers[static_cast<size_t>(device)];
  if (!found) found = make_mover(device);
  return *found;
}

Exchange::Exchange(ThreadWorld& world, std::vector<int> world_ranks)
    : world_(world), sides_(world_ranks.size()) {
  for (size_t i = 0; i < sides_.size(); ++i) sides_[i].world_rank = world_ranks[i];
}

Exchange::~Exchange() {
  if (mover_ == nullptr) return;
  mover_->give_back(std::move(results_));
  for (Side& side : sides_) mover_->give_back(std::move(side.stash));
}

void Exchange::check_match(const Side& newcomer) const {
  const Operation& mine = newcomer.operation;
  for (const Side& other : sides_) {
    if (!other.joined) continue;
    const Operation& theirs = other.operation;
    const bool pair = is_point_to_point(mine.kind);
    const Buffer& a = mine.kind == OperationKind::recv ? mine.out : mine.in;
    const Buffer& b = theirs.kind == OperationKind::recv ? theirs.out : theirs.in;
    const bool same_call = pair || (mine.kind == theirs.kind && mine.peer == theirs.peer &&
                                    mine.reduce == theirs.reduce);
    if (!same_call || a.count != b.count || a.dtype != b.dtype || a.device != b.device)
      fail_operation(
          newcomer.member, mine,
          fmt::format("does not match {} of {}", describe(theirs), describe(other.member)));
  }
}

void Exchange::join(size_t index, const Member& member, const Operation& operation, Stream& stream,
                    ThreadSplit wanted) {
  Lock lock(world_.mutex);
  Side& side = sides_[index];
  side.member = member;
  side.operation = operation;
  side.split = std::move(wanted);
  check_match(side);
  if (mover_ == nullptr) mover_ = &world_.mover(operation.device());
  mover_->after(stream);
  if (world_.options.delay_and_poison) {
    poison(side);
    mover_->before(stream);
  }
  side.joined = true;
  complete_ = ++joined_ == sides_.size();
  if (!complete_) return;
  if (!world_.options.delay_and_poison && why_hopeless().empty()) {
    claim_and_execute(lock);
    for (Side& each : sides_) deliver(each);
  }
  world_.changed.notify_all();
}

void Exchange::claim_and_execute(Lock& lock) {
  claimed_ = true;
  lock.unlock();
  std::exception_ptr error;
  try {
    execute();
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  executed_ = true;
  world_.changed.notify_all();
  if (error) std::rethrow_exception(error);
}

void Exchange::wait(size_t index, Stream& stream) {
  delay_at_random(world_, sides_[index].world_rank);
  Lock lock(world_.mutex);
  await(lock, index, complete_);
  if (world_.options.delay_and_poison) mover_->after(stream);
  if (!claimed_) claim_and_execute(lock);
  await(lock, index, executed_);
  deliver(sides_[index]);
  mover_->before(stream);
}

void Exchange::await(Lock& lock, size_t index, const bool& condition) {
  const Side& side = sides_[index];
  const Exchange*& waits_in = world_.waits_in[static_cast<size_t>(side.world_rank)];
  waits_in = this;
  const bool in_time = world_.changed.wait_for(lock, world_.options.timeout, [&] {
    return condition || world_.error || !why_hopeless().empty();
  });
  waits_in = nullptr;
  if (condition && why_hopeless().empty()) return;
  if (executed_) return;
  std::string why = why_hopeless();
  if (why.empty() && world_.error) why = world_.failure;
  if (!in_time)
    why = fmt::format("no end after {} ms (the timeout); {}", world_.options.timeout.count(),
                      missing());
  lock.unlock();
  fail_operation(side.member, side.operation, why,
                 in_time ? ExitCode::lost_peer : ExitCode::timed_out);
}

void Exchange::abandon(size_t index) {
  Lock lock(world_.mutex);
  Side& side = sides_[index];
  if (side.delivered) return;
  // Whoever carries it out reads this side's buffers: they must stay until then.
  if (claimed_) world_.changed.wait(lock, [&] { return executed_; });
  side.abandoned = !executed_;
  world_.changed.notify_all();
  if (!world_.options.delay_and_poison || std::uncaught_exceptions() > 0) return;
  lock.unlock();
  const std::string text = fmt::format("{}: {}: its handle was dropped without a wait",
                                       describe(side.member), describe(side.operation));
  world_.fail_with(std::make_exception_ptr(Error(text)), text);
}

std::string Exchange::why_hopeless() const {
  for (const Side& side : sides_) {
    if (side.abandoned)
      return fmt::format("{} dropped its handle without a wait", describe(side.member));
    if (!side.joined && world_.ended[static_cast<size_t>(side.world_rank)])
      return fmt::format("world rank {} has ended without joining in", side.world_rank);
  }
  return {};
}

std::vector<int> Exchange::not_joined() const {
  std::vector<int> ranks;
  for (const Side& side : sides_)
    if (!side.joined) ranks.push_back(side.world_rank);
  return ranks;
}

// Those that wait themselves, in the end for others, are not to blame.
std::string Exchange::missing() const {
  const std::vector<int> missing = not_joined();
  if (missing.empty()) return "all ranks have joined in";
  std::vector<int> ahead = missing, culprits;
  std::set<int> seen;
  while (!ahead.empty()) {
    const int rank = ahead.back();
    ahead.pop_back();
    if (!seen.insert(rank).second) continue;
    const Exchange* in = world_.waits_in[static_cast<size_t>(rank)];
    if (in == nullptr) {
      culprits.push_back(rank);
    } else {
      const auto next = in->not_joined();
      ahead.insert(ahead.end(), next.begin(), next.end());
    }
  }
  std::ranges::sort(culprits);
  std::string text = fmt::format("nothing from {}", describe_ranks(missing));
  if (culprits.empty()) return text + "; all wait for each other";
  if (culprits != missing) text += fmt::format("; all wait for {}", describe_ranks(culprits));
  return text;
}

void Exchange::poison(Side& side) {
  const Operation& o = side.operation;
  const auto index = static_cast<int64_t>(&side - sides_.data());
  const int64_t bytes = o.out.bytes();
  auto* out = static_cast<std::byte*>(o.out.data);
  const auto* in = static_cast<const std::byte*>(o.in.data);
  const bool is_root = o.kind == OperationKind::broadcast && o.peer == static_cast<int>(index);
  if (bytes == 0 || is_root) return;
  const bool own_part = o.kind == OperationKind::reduce_scatter && out == in + index * bytes;
  if (o.kind == OperationKind::all_reduce || own_part) {
    side.stash = mover_->take(bytes);
    mover_->copy(side.stash.data(), out, bytes);
  }
  if (o.kind == OperationKind::all_gather) {
    const int64_t part = o.in.bytes();
    const int64_t kept = in == out + index * part ? part : 0;  // the input stays readable
    mover_->poison(out, index * part);
    mover_->poison(out + index * part + kept, bytes - index * part - kept);
  } else {
    mover_->poison(out, bytes);
  }
}

void Exchange::execute() {
  switch (sides_[0].operation.kind) {
    case OperationKind::all_reduce:
      return reduce(false);
    case OperationKind::reduce_scatter:
      return reduce(true);
    case OperationKind::all_gather:
      return gather();
    case OperationKind::all_to_all:
      return exchange_parts();
    case OperationKind::broadcast:
      return copy_from(static_cast<size_t>(sides_[0].operation.peer));
    case OperationKind::send:
    case OperationKind::recv:
      return copy_from(0);
    case OperationKind::split:
      return make_groups();
    case OperationKind::barrier:
      return;
  }
}

void Exchange::deliver(Side& side) {
  if (side.delivered) return;
  side.delivered = true;
  const auto* results = static_cast<const std::byte*>(results_.data());
  if (side.bytes > 0) mover_->copy(side.operation.out.data, results + side.offset, side.bytes);
}

void delay_at_random(const ThreadWorld& world, int world_rank) {
  if (!world.options.delay_and_poison) return;
  thread_local uint64_t state = 0;
  state = (state + world.options.seed + static_cast<uint64_t>(world_rank) + 1) *
          6364136223846793005u;  // Knuth's MMIX multiplier
  const auto microseconds = (state >> 33) % 400;
  if (microseconds < 200) std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
}

}  // namespace switchyard
