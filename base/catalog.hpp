// Finds the shipped configuration files by name: configs/chips/h100-sxm.yaml is the chip "h100-sxm".
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/node.hpp"
#include "base/result.hpp"

namespace gambrel {

class Catalog {
 public:
  /// `root` holds chips/, systems/, models/, runs/; `own`, if any, what its user added: looked in where root has no such name.
  explicit Catalog(std::filesystem::path root, std::filesystem::path own = {}) : root_(std::move(root)), own_(std::move(own)) {}

  /// Where the configuration folder is: $GAMBREL_CONFIGS, or beside the running program (../configs,
  /// ../share/gambrel/configs), or ./configs. And the user's own: what follows a colon in $GAMBREL_CONFIGS; where that is
  /// not set, $XDG_CONFIG_HOME/gambrel, or ~/.config/gambrel.
  static Catalog standard();

  /// Names of a folder's files, sorted, without their endings.
  std::vector<std::string> names(std::string_view folder) const;
  bool has(std::string_view folder, std::string_view name) const;

  /// Loads a name of `folder`, or a path (anything that holds a slash or ends in .yaml, .yml or .json), relative to
  /// the folder of `from`'s file first and then to the working directory. An unknown name is an error at `from` that
  /// suggests the nearest one. `base: NAME` is resolved (merge; a cycle is an error).
  Result<Node> load(std::string_view folder, std::string_view name_or_path, const Position& from = {}) const;

  const std::filesystem::path& root() const { return root_; }
  /// Where to put what is made here: the user's own folder, else the root.
  const std::filesystem::path& writable() const { return own_.empty() ? root_ : own_; }
  /// Whether that is the user's, not the shipped one.
  bool has_own() const { return !own_.empty(); }
  /// The file of a name, in the root or the user's own folder; empty if there is none.
  std::filesystem::path file(std::string_view folder, std::string_view name) const;

 private:
  std::filesystem::path root_, own_;
};

}  // namespace gambrel
