// The text of the script.
#include "sim/sweep/sbatch.hpp"

#include <fmt/format.h>

#include <filesystem>

namespace gambrel::sim {
namespace {

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

std::string sbatch_script(const SbatchJob& job) {
  const std::filesystem::path database = job.database;
  const std::string stem = quoted((database.parent_path() / database.stem()).string()), extension = quoted(database.extension().string());
  const std::string jobs = job.jobs > 0 ? fmt::format("{}", job.jobs) : "\"${SLURM_CPUS_PER_TASK:-$(nproc)}\"";
  return fmt::format(R"(#!/bin/bash
#SBATCH --job-name=gambrel-sweep
#SBATCH --array=1-{shards}
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --signal=TERM@60
# One task a shard, each with a file of its own; a task that runs again goes on where it was.
# Submit with: sbatch THIS_FILE. The first task also submits the merge, to run when all are done.
set -eu
if [ "${{SLURM_ARRAY_TASK_ID:?run this with sbatch}}" = 1 ] && [ "${{SLURM_RESTART_COUNT:-0}}" = 0 ]; then
  sbatch --job-name=gambrel-merge --ntasks=1 --dependency="afterok:$SLURM_ARRAY_JOB_ID" \
    --wrap {merge}
fi
exec gambrel sweep {sweep} --db {stem}."$SLURM_ARRAY_TASK_ID"{extension} \
  --shard "$SLURM_ARRAY_TASK_ID/{shards}" --jobs {jobs}{options}
)",
                     fmt::arg("shards", job.shards), fmt::arg("sweep", quoted(job.sweep)), fmt::arg("stem", stem), fmt::arg("extension", extension), fmt::arg("jobs", jobs),
                     fmt::arg("options", job.options.empty() ? "" : " " + job.options),
                     fmt::arg("merge", quoted(fmt::format("gambrel merge {} {}.[0-9]*{}", quoted(job.database), stem, extension))));
}

}  // namespace gambrel::sim
