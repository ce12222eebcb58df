// The table of verbs.
#include "cli/verbs.hpp"

namespace gambrel::cli {

std::vector<std::unique_ptr<Verb>> all_verbs() {
  std::vector<std::unique_ptr<Verb>> verbs;
  for (auto make : {estimate_verb, estimate_ops_verb, execute_verb, roofline_verb, compare_verb, sweep_verb, merge_verb, explain_verb, measure_verb, check_verb, calibrate_verb, validate_verb, import_verb, list_verb, show_verb, schema_verb, completion_verb}) verbs.push_back(make());
  return verbs;
}

}  // namespace gambrel::cli
