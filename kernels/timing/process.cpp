#include "kernels/timing/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>
#include <thread>

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

double seconds(const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec); }

bool is_watched(const Command& command) { return command.timeout_s > 0 || command.stop; }

/// A shell's line is what its reader wrote; of a program, its path.
const std::string& shown(const Command& command) { return command.arguments.front() == "/bin/sh" ? command.arguments.back() : command.arguments.front(); }

/// A started program and the end of the pipe that it prints into.
class Child {
 public:
  Child(const Command& command, pid_t pid, int pipe) : command_(command), pid_(pid), pipe_(pipe) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { close(pipe_); }

  Result<Finished> wait() {
    Finished finished;
    if (auto read = read_to_end(finished.out); !read) return fail(ended(std::move(read.error())));
    int status = 0;
    rusage usage{};
    // What closed its output may still run on.
    for (;;) {
      const pid_t found = wait4(pid_, &status, is_watched(command_) ? WNOHANG : 0, &usage);
      if (found == pid_ || (found < 0 && errno != EINTR)) break;
      if (auto early = early_end()) return fail(ended({std::move(*early)}));
      if (is_watched(command_)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    finished.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    finished.wall = elapsed();
    finished.cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    return finished;
  }

 private:
  double elapsed() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

  std::optional<Diagnostic> early_end() const {
    if (command_.stop && *command_.stop) return interrupted();
    if (command_.timeout_s > 0 && elapsed() > command_.timeout_s)
      return Diagnostic{{}, fmt::format("'{}' did not end within {:g} s", shown(command_), command_.timeout_s), "--timeout allows more seconds", Fault::environment};
    return std::nullopt;
  }

  Result<void> read_to_end(std::string& text) const {
    constexpr int look_again_ms = 20;
    std::array<char, 65536> buffer;
    for (;;) {
      if (auto early = early_end()) return fail(std::move(*early));
      pollfd waiting{pipe_, POLLIN, 0};
      if (poll(&waiting, 1, is_watched(command_) ? look_again_ms : -1) <= 0) continue;
      const ssize_t count = read(pipe_, buffer.data(), buffer.size());
      if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
      else if (count == 0 || errno != EINTR) return {};
    }
  }

  /// Ends it and what it started: politely, and a second later by force.
  Diagnostics ended(Diagnostics why) const {
    kill(-pid_, SIGTERM);
    int status = 0;
    for (int tries = 0; tries < 100 && waitpid(pid_, &status, WNOHANG) == 0; ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    kill(-pid_, SIGKILL);
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    return why;
  }

  const Command& command_;
  pid_t pid_;
  int pipe_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

Diagnostic interrupted() { return {{}, "interrupted", "", Fault::environment}; }

Result<Finished> run(const Command& command) {
  if (command.stop && *command.stop) return fail(interrupted());
  std::vector<std::string> words = command.arguments, variables = environment_of(command);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(cannot_start(words.front(), errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  if (is_watched(command)) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, words.front().c_str(), &actions, &attributes, pointers(words).data(), pointers(variables).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error == 0) return Child(command, pid, ends[0]).wait();
  close(ends[0]);
  return fail(cannot_start(words.front(), error));
}

Command shell(const std::string& line) { return {{"/bin/sh", "-c", line}, {}}; }

Result<std::string> temporary_file(const std::string& stem) {
  std::error_code no_folder;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(no_folder);
  const char* set = std::getenv("TMPDIR");
  const std::string shown_folder = no_folder ? (set ? set : "/tmp") : folder.string();
  std::string name = (folder / (stem + "-XXXXXX")).string();
  const int file = no_folder ? -1 : mkstemp(name.data());
  const int error = no_folder ? no_folder.value() : errno;
  if (file < 0)
    return fail(Diagnostic{{}, fmt::format("cannot write into '{}', the folder for temporary files: {}", shown_folder, std::generic_category().message(error)),
                           "TMPDIR names another folder", Fault::environment});
  close(file);
  return name;
}

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
