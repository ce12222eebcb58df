// A sweep as a Slurm job array.
#pragma once

#include <string>

namespace gambrel::sim {

struct SbatchJob {
  unsigned shards = 1;
  std::string sweep;      ///< the sweep file
  std::string database;   ///< "out.sqlite": shard 3 writes "out.3.sqlite", the last job merges them into it
  std::string options;    ///< further options of `gambrel sweep`, as a shell reads them
  unsigned jobs = 0;      ///< threads of each shard; 0: as many as the task has cores
};

/// The script: an array of one task a shard, and a job after it that merges. A requeued or repeated task goes on where
/// it was. Every word is quoted for the shell.
std::string sbatch_script(const SbatchJob& job);

}  // namespace gambrel::sim
