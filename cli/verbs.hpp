// One factory a verb.
#pragma once

#include <memory>

#include "cli/verb.hpp"

namespace gambrel::cli {

std::unique_ptr<Verb> estimate_verb();
std::unique_ptr<Verb> estimate_ops_verb();
std::unique_ptr<Verb> execute_verb();
std::unique_ptr<Verb> roofline_verb();
std::unique_ptr<Verb> explain_verb();
std::unique_ptr<Verb> merge_verb();
std::unique_ptr<Verb> compare_verb();
std::unique_ptr<Verb> sweep_verb();
std::unique_ptr<Verb> measure_verb();
std::unique_ptr<Verb> check_verb();
std::unique_ptr<Verb> calibrate_verb();
std::unique_ptr<Verb> validate_verb();
std::unique_ptr<Verb> import_verb();
std::unique_ptr<Verb> list_verb();
std::unique_ptr<Verb> show_verb();
std::unique_ptr<Verb> schema_verb();
std::unique_ptr<Verb> completion_verb();

}  // namespace gambrel::cli
