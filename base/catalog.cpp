#include "base/catalog.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <system_error>

#include "base/load.hpp"
#include "base/text.hpp"

namespace gambrel {
namespace {

namespace fs = std::filesystem;

constexpr std::array endings{".yaml", ".yml", ".json"};

bool is_path(std::string_view name) {
  return name.find('/') != std::string_view::npos ||
         std::ranges::any_of(endings, [&](std::string_view ending) { return name.ends_with(ending); });
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

/// The file of a name in a folder; empty if there is none.
fs::path file_of(const fs::path& folder, std::string_view name) {
  for (const std::string_view ending : endings)
    if (fs::path path = folder / fmt::format("{}{}", name, ending); is_file(path)) return path;
  return {};
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

/// Beside the file that names it first, then from the working directory.
fs::path resolve(const fs::path& path, const Position& from) {
  if (path.is_absolute() || !from.source) return path;
  const fs::path beside = fs::path(from.source->name).parent_path() / path;
  return is_there(beside) ? beside : path;
}

/// One load with everything it is `base:`d on.
class Loader {
 public:
  explicit Loader(const Catalog& catalog, std::string_view folder) : catalog_(catalog), folder_(folder) {}

  Result<Node> load(std::string_view name_or_path, const Position& from) {
    const auto path = find(name_or_path, from);
    return path ? load_path(*path, from) : fail(path.error());
  }

 private:
  Result<Node> load_path(const fs::path& path, const Position& from) {
    const fs::path same = fs::absolute(path).lexically_normal();
    if (std::ranges::find(chain_, same) != chain_.end())
      return fail(Diagnostic{from, fmt::format("'{}' builds on itself", path.stem().string()), chain_text(path)});
    chain_.push_back(same);
    auto node = read(path, from);
    if (!node) return node;
    const Node* base = node->find("base");
    if (!base) return node;
    if (!base->is_string()) return fail(Diagnostic{base->at, "'base' must be a name or a path", {}});
    // A variant beside its base need not stand in the catalog.
    const fs::path beside = is_path(base->text) ? fs::path{} : file_of(path.parent_path(), base->text);
    auto under = beside.empty() ? load(base->text, base->at) : load_path(beside, base->at);
    if (!under) return under;
    node->erase("base");
    forget_names(*under);
    return merge(*under, *node);
  }

  /// A variant is not its base: what a file is called, here or by others, is not inherited.
  void forget_names(Node& base) const {
    if (folder_ == "chips") base.erase("aliases");
    if (folder_ == "chips" || folder_ == "systems") base.erase("name");
    base.erase(folder_.substr(0, folder_.size() - 1));  // "chips": the key `chip`
  }

  Result<fs::path> find(std::string_view name, const Position& from) const {
    if (name.empty()) return fail(Diagnostic{from, "a name is empty", {}});
    if (is_path(name)) return resolve(fs::path(name), from);
    const fs::path path = catalog_.file(folder_, name);
    if (!path.empty()) return path;
    const auto names = catalog_.names(folder_);
    const std::string near = nearest(std::string(name), names);
    std::string hint =
        near.empty() ? "a name of 'gambrel list', or a path to a file" : fmt::format("did you mean '{}'?", near);
    if (names.empty())
      hint = fmt::format("no files in '{}'; set GAMBREL_CONFIGS", (catalog_.root() / folder_).string());
    return fail(Diagnostic{from, fmt::format("there is no '{}' in {}", excerpt(name), folder_), std::move(hint)});
  }

  /// A file that cannot be opened is an error where it was named, if it was named in a file.
  Result<Node> read(const fs::path& path, const Position& from) const {
    LoadLimits limits;
    limits.nonfinite_as_null = folder_ == "models";  // Python wrote those files, and Python's JSON knows Infinity
    auto node = load_file(path, limits);
    if (node || !from.source || node.error().front().at.line > 0) return node;
    Diagnostic diagnostic = node.error().front();
    diagnostic.message = fmt::format("'{}': {}", path.string(), diagnostic.message);
    diagnostic.at = from;
    return fail(std::move(diagnostic));
  }

  std::string chain_text(const fs::path& last) const {
    std::string text;
    for (const fs::path& path : chain_) text += path.stem().string() + " -> ";
    return text + last.stem().string();
  }

  const Catalog& catalog_;
  std::string folder_;
  std::vector<fs::path> chain_;
};

/// $XDG_CONFIG_HOME/gambrel (XDG Base Directory Specification), or ~/.config/gambrel; empty without a home.
fs::path users_folder() {
  if (const char* set = std::getenv("XDG_CONFIG_HOME"); set && *set) return fs::path(set) / "gambrel";
  const char* home = std::getenv("HOME");
  return home && *home ? fs::path(home) / ".config" / "gambrel" : fs::path{};
}

void add_names(const fs::path& folder, std::vector<std::string>& names) {
  std::error_code error;
  for (fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
    const std::string ending = file->path().extension().string();
    if (std::ranges::find(endings, ending) != endings.end() && is_file(file->path()))
      names.push_back(file->path().stem().string());
  }
}

}  // namespace

Catalog Catalog::standard() {
  if (const char* set = std::getenv("GAMBREL_CONFIGS"); set && *set) {
    const std::string_view folders = set;
    const auto colon = folders.find(':');
    return Catalog(folders.substr(0, colon), colon == folders.npos ? std::string_view{} : folders.substr(colon + 1));
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* place : {"../configs", "../share/gambrel/configs"})
    if (fs::path root = program / place; !error && is_there(root / "chips")) return Catalog(root.lexically_normal(), users_folder());
  return Catalog("configs", users_folder());
}

std::vector<std::string> Catalog::names(std::string_view folder) const {
  std::vector<std::string> names;
  add_names(root_ / folder, names);
  if (!own_.empty()) add_names(own_ / folder, names);
  std::ranges::sort(names);
  const auto repeated = std::ranges::unique(names);
  names.erase(repeated.begin(), repeated.end());
  return names;
}

bool Catalog::has(std::string_view folder, std::string_view name) const {
  return !is_path(name) && !name.empty() && !file(folder, name).empty();
}

fs::path Catalog::file(std::string_view folder, std::string_view name) const {
  fs::path path = file_of(root_ / folder, name);
  return path.empty() && !own_.empty() ? file_of(own_ / folder, name) : path;
}

Result<Node> Catalog::load(std::string_view folder, std::string_view name_or_path, const Position& from) const {
  return Loader(*this, folder).load(name_or_path, from);
}

}  // namespace gambrel
