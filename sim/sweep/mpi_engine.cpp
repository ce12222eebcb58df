// Messages between rank 0 and the others: a range or a list of points there, what became of them back.
#include "sim/sweep/mpi_engine.hpp"

#ifdef GAMBREL_MPI

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace gambrel::sim {
namespace {

enum Tag : int { range = 1, list = 2, end = 3, result = 4 };
constexpr int in_flight = 2;  ///< tasks a rank has at a time, so that it never waits for the next
constexpr auto nap = std::chrono::microseconds(100);

/// Whether mpirun or srun has started this process; alone it needs no MPI.
bool started_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
    if (std::getenv(name)) return true;
  return false;
}

class Membership {
 public:
  Membership() {
    if (!started_by_mpi()) return;
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &ranks_.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks_.count);
    joined_ = true;
  }
  ~Membership() {
    if (!joined_) return;
    release();
    MPI_Finalize();
  }
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;
  MpiRanks ranks() const { return ranks_; }
  void release() {
    for (int r = 1; ranks_.rank == 0 && !released_ && r < ranks_.count; ++r) MPI_Send(nullptr, 0, MPI_UINT64_T, r, end, MPI_COMM_WORLD);
    released_ = true;
  }

 private:
  MpiRanks ranks_;
  bool joined_ = false, released_ = false;
};

Membership& membership() {
  static Membership here;
  return here;
}

/// Values one after the other; the ranks run the same program on the same kind of machine.
class Message {
 public:
  Message() = default;
  explicit Message(std::string bytes) : bytes_(std::move(bytes)) {}
  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class Range>
  void put_all(const Range& values) {
    put(values.size());
    for (const auto& value : values) put(value);
  }
  template <class T>
  T get() {
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  template <class Range>
  Range get_all() {
    Range values(get<std::size_t>(), {});
    for (auto& value : values) value = get<std::decay_t<decltype(value)>>();
    return values;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

void put(Message& message, const StoredPoint& stored) {
  message.put(stored.key);
  message.put(stored.point.index);
  message.put(stored.point.state);
  message.put(stored.point.reason);
  message.put_all(stored.point.figures);
  message.put_all(stored.message);
}

StoredPoint get_point(Message& message) {
  StoredPoint stored;
  stored.key = message.get<PointKey>();
  stored.point.index = message.get<std::uint64_t>();
  stored.point.state = message.get<PointState>();
  stored.point.reason = message.get<std::uint32_t>();
  stored.point.figures = message.get_all<std::vector<double>>();
  stored.message = message.get_all<std::string>();
  return stored;
}

std::string packed(const Batch& batch, double seconds) {
  Message message;
  message.put(seconds);
  message.put(batch.first);
  message.put_all(batch.states);
  message.put(batch.points.size());
  for (const StoredPoint& stored : batch.points) put(message, stored);
  return message.bytes();
}

struct Received {
  int rank = 0;
  double seconds = 0;
  Batch batch;
};

Received unpacked(int rank, std::string bytes) {
  Message message(std::move(bytes));
  Received received{.rank = rank, .seconds = message.get<double>()};
  received.batch.first = message.get<std::uint64_t>();
  received.batch.states = message.get_all<std::vector<PointState>>();
  received.batch.points.resize(message.get<std::size_t>());
  for (StoredPoint& stored : received.batch.points) stored = get_point(message);
  return received;
}

void send(int rank, Tag tag, const std::vector<std::uint64_t>& numbers) {
  MPI_Send(numbers.data(), static_cast<int>(numbers.size()), MPI_UINT64_T, rank, tag, MPI_COMM_WORLD);
}

/// Waits without keeping a core busy.
MPI_Status probe(int source) {
  MPI_Status status;
  for (int there = 0;;) {
    MPI_Iprobe(source, MPI_ANY_TAG, MPI_COMM_WORLD, &there, &status);
    if (there) return status;
    std::this_thread::sleep_for(nap);
  }
}

Received receive_result() {
  MPI_Status status = probe(MPI_ANY_SOURCE);
  int size = 0;
  MPI_Get_count(&status, MPI_CHAR, &size);
  std::string bytes(static_cast<std::size_t>(size), '\0');
  MPI_Recv(bytes.data(), size, MPI_CHAR, status.MPI_SOURCE, result, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  return unpacked(status.MPI_SOURCE, std::move(bytes));
}

/// Keeps every rank busy while `give(rank)` finds work for it; `take` gets what comes back.
template <class Give, class Take>
void share_out(Give give, Take take) {
  int open = 0;
  for (int round = 0; round < in_flight; ++round)
    for (int rank = 1; rank < membership().ranks().count; ++rank) open += give(rank);
  while (open > 0) {
    Received received = receive_result();
    --open;
    open += give(received.rank);
    take(received);
  }
}

}  // namespace

MpiRanks mpi_ranks() { return membership().ranks(); }
void release_ranks() { membership().release(); }

Result<void> serve_rank(const DesignSpace& space, const SearchOptions& search, const Keep& keep, const std::atomic<bool>* stop) {
  std::unique_ptr<Sequence> sequence;
  if (!search_learns(search.kind)) {
    auto made = make_sequence(space, search);
    if (!made) return fail(std::move(made.error()));
    sequence = std::move(*made);
  }
  BatchEvaluator evaluator(space, sequence.get(), sequence ? keep : Keep{}, stop);
  for (;;) {
    MPI_Status status = probe(0);
    int count = 0;
    MPI_Get_count(&status, MPI_UINT64_T, &count);
    std::vector<std::uint64_t> numbers(static_cast<std::size_t>(count));
    MPI_Recv(numbers.data(), count, MPI_UINT64_T, 0, status.MPI_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (status.MPI_TAG == end) return {};
    const auto start = Clock::now();
    Batch batch;
    if (status.MPI_TAG == range) batch = evaluator.evaluate({numbers[0], numbers[1], std::nullopt});
    else
      for (std::size_t i = 1; i < numbers.size() && !(stop && *stop); ++i) batch.points.push_back(evaluator.evaluate(numbers[i]));
    if (status.MPI_TAG == list) batch.first = numbers[0];
    const std::string bytes = packed(batch, seconds_since(start));
    MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_CHAR, 0, result, MPI_COMM_WORLD);
  }
}

void evaluate_by_ranks(const std::atomic<bool>* stop, WorkSource& source, BatchWriter& writer) {
  bool over = false;
  share_out(
      [&](int rank) {
        const auto work = over || (stop && *stop) ? std::nullopt : source.next();
        if (work) send(rank, range, {work->first, work->last});
        return work ? 1 : 0;
      },
      [&](Received& received) {
        if (!received.batch.states.empty()) source.took(received.batch.states.size(), received.seconds);
        over |= !writer.add(std::move(received.batch));
      });
}

EvaluateAll evaluate_by_ranks(const std::atomic<bool>* stop) {
  return [stop](const std::vector<std::uint64_t>& indices) {
    std::vector<StoredPoint> points(indices.size());
    std::vector<char> done(indices.size(), 0);
    std::size_t next = 0;
    share_out(
        [&](int rank) {
          if (next == indices.size() || (stop && *stop)) return 0;
          send(rank, list, {next, indices[next]});
          ++next;
          return 1;
        },
        [&](Received& received) {
          if (received.batch.points.empty()) return;
          points[received.batch.first] = std::move(received.batch.points.front());
          done[received.batch.first] = 1;
        });
    points.resize(static_cast<std::size_t>(std::ranges::find(done, 0) - done.begin()));
    return points;
  };
}

}  // namespace gambrel::sim

#else

namespace gambrel::sim {

MpiRanks mpi_ranks() { return {}; }
void release_ranks() {}
// One rank alone: nobody to serve, nobody to send to.
Result<void> serve_rank(const DesignSpace&, const SearchOptions&, const Keep&, const std::atomic<bool>*) { return {}; }
void evaluate_by_ranks(const std::atomic<bool>*, WorkSource&, BatchWriter&) {}
EvaluateAll evaluate_by_ranks(const std::atomic<bool>*) {
  return [](const std::vector<std::uint64_t>&) { return std::vector<StoredPoint>(); };
}

}  // namespace gambrel::sim

#endif
