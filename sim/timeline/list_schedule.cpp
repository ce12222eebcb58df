// List scheduling of tasks on resources: earliest ready, lowest index first; the critical path is read back from it.
#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <utility>

#include "sim/timeline/timeline.hpp"

namespace gambrel::sim {
namespace {

constexpr std::uint32_t none = ~0u;
template <class T>
using MinHeap = std::priority_queue<T, std::vector<T>, std::greater<>>;

struct Resource {
  MinHeap<std::uint32_t> ready;
  std::uint32_t last = none;  ///< the task it ran last
  bool busy = false;
};

class ListSchedule {
 public:
  explicit ListSchedule(std::span<const Task> tasks)
      : tasks_(tasks), waiting_(tasks.size()), resource_of_(tasks.size()), first_user_(tasks.size() + 1), cause_(tasks.size(), none) {
    result_.start.resize(tasks.size());
    number_resources();
    link_users();
  }

  Scheduled run() {
    for (std::uint32_t task = 0; task < tasks_.size(); ++task)
      if (waiting_[task] == 0) make_ready(task);
    start_all();
    while (!running_.empty()) {
      now_ = running_.top().first;
      // Everything that ends now ends before anything starts: the choice sees all that is ready.
      while (!running_.empty() && running_.top().first == now_) end(running_.top().second);
      start_all();
    }
    trace_critical();
    return std::move(result_);
  }

 private:
  void number_resources() {
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> numbers;
    for (std::size_t i = 0; i < tasks_.size(); ++i)
      resource_of_[i] = numbers.try_emplace({tasks_[i].stage, tasks_[i].stream}, static_cast<std::uint32_t>(numbers.size())).first->second;
    resources_.resize(numbers.size());
  }

  /// users_[first_user_[t]..first_user_[t + 1]) wait for task t.
  void link_users() {
    for (const Task& task : tasks_)
      for (std::uint32_t before : task.after) ++first_user_[before + 1];
    for (std::size_t i = 1; i < first_user_.size(); ++i) first_user_[i] += first_user_[i - 1];
    users_.resize(first_user_.back());
    std::vector<std::uint32_t> at(first_user_.begin(), first_user_.end() - 1);
    for (std::uint32_t task = 0; task < tasks_.size(); ++task) {
      waiting_[task] = static_cast<std::uint32_t>(tasks_[task].after.size());
      for (std::uint32_t before : tasks_[task].after) users_[at[before]++] = task;
    }
  }

  void make_ready(std::uint32_t task) {
    resources_[resource_of_[task]].ready.push(task);
    touched_.push_back(resource_of_[task]);
  }

  void end(std::uint32_t task) {
    running_.pop();
    result_.seconds = now_;
    last_ended_ = task;
    resources_[resource_of_[task]].busy = false;
    touched_.push_back(resource_of_[task]);
    for (std::uint32_t i = first_user_[task]; i < first_user_[task + 1]; ++i) {
      const std::uint32_t user = users_[i];
      cause_[user] = task;
      if (--waiting_[user] == 0) make_ready(user);
    }
  }

  void start_all() {
    for (std::uint32_t index : std::exchange(touched_, {})) {
      Resource& resource = resources_[index];
      if (resource.busy || resource.ready.empty()) continue;
      const std::uint32_t task = resource.ready.top();
      resource.ready.pop();
      const double ready = cause_[task] == none ? 0 : end_of(cause_[task]);
      if (resource.last != none && end_of(resource.last) > ready) cause_[task] = resource.last;
      resource.busy = true;
      resource.last = task;
      result_.start[task] = now_;
      running_.emplace(end_of(task), task);
    }
  }

  double end_of(std::uint32_t task) const { return result_.start[task] + tasks_[task].seconds; }

  void trace_critical() {
    for (std::uint32_t task = last_ended_; task != none; task = cause_[task]) result_.critical.push_back(task);
    std::ranges::reverse(result_.critical);
  }

  std::span<const Task> tasks_;
  std::vector<std::uint32_t> waiting_;  ///< of each task: how many it still waits for
  std::vector<std::uint32_t> resource_of_, first_user_, users_;
  std::vector<std::uint32_t> cause_;    ///< whose end let it start: the last it waited for, or the resource's task before
  std::vector<Resource> resources_;
  std::vector<std::uint32_t> touched_;  ///< resources that may start something now
  MinHeap<std::pair<double, std::uint32_t>> running_;
  double now_ = 0;
  std::uint32_t last_ended_ = none;
  Scheduled result_;
};

}  // namespace

Scheduled schedule(std::span<const Task> tasks) { return ListSchedule(tasks).run(); }

}  // namespace gambrel::sim
