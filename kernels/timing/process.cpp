#include "kernels/timing/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <system_error>

namespace gambrel::kernels {
namespace {

Diagnostic cannot_start(const std::string& program, int error) {
  return {{}, fmt::format("cannot run '{}': {}", program, std::generic_category().message(error)), "check the path and its permissions", Fault::environment};
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

/// This process's variables with those of the command, which win.
std::vector<std::string> environment_of(const Command& command) {
  std::vector<std::string> all;
  for (char** variable = environ; variable && *variable; ++variable) {
    const std::string_view text = *variable;
    bool replaced = false;
    for (const auto& [name, value] : command.environment) replaced |= text.starts_with(name + "=");
    if (!replaced) all.emplace_back(text);
  }
  for (const auto& [name, value] : command.environment) all.push_back(name + "=" + value);
  return all;
}

std::string read_to_end(int pipe) {
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t count = read(pipe, buffer.data(), buffer.size());
    if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
    else if (count == 0 || errno != EINTR) return text;
  }
}

double seconds(const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec); }

}  // namespace

Result<Finished> run(const Command& command) {
  std::vector<std::string> words = command.arguments, variables = environment_of(command);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(cannot_start(words.front(), errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  pid_t child = 0;
  const auto start = std::chrono::steady_clock::now();
  const int error = posix_spawnp(&child, words.front().c_str(), &actions, nullptr, pointers(words).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  Finished finished;
  if (error == 0) finished.out = read_to_end(ends[0]);
  close(ends[0]);
  if (error != 0) return fail(cannot_start(words.front(), error));
  int status = 0;
  rusage usage{};
  while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) continue;
  finished.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  finished.wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  finished.cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  return finished;
}

Command shell(const std::string& line) { return {{"/bin/sh", "-c", line}, {}}; }

Result<Command> this_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  Command command;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\0', at);
    command.arguments.push_back(text.substr(at, end - at));
    at = end == text.npos ? text.size() : end + 1;
  }
  if (command.arguments.empty()) return fail(Diagnostic{{}, "cannot read /proc/self/cmdline", "the gate starts its own program again", Fault::environment});
  std::array<char, 4096> path;
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  if (length > 0) command.arguments.front().assign(path.data(), static_cast<std::size_t>(length));
  return command;
}

}  // namespace gambrel::kernels
