"""Breakages of the program that the harness has to find: edits of (file, text, other text), and the
words for crash_faults that find them."""

RECORDED = ["--kind", "recorded", "--scenario"]
CHECKPOINT = "parallel/checkpoint/"

MUTANTS = {
    "a shard is not brought to the disk": (
        [(CHECKPOINT + "shard.cpp", "problem = bytes_.sync_and_close();", "problem;")],
        RECORDED + ["keep-few"]),
    "fsync before HDF5 writes for the last time": (
        [(CHECKPOINT + "shard.cpp", "  hdf5::flush_and_close(file_, temporary_);\n", ""),
         (CHECKPOINT + "shard.cpp", "  const ReadableFile written(temporary_);\n",
          "  hdf5::flush_and_close(file_, temporary_);\n"
          "  const ReadableFile written(temporary_);\n")],
        RECORDED + ["keep-few"]),
    "the master is not brought to the disk": (
        [(CHECKPOINT + "master.cpp", "hdf5::sync_and_close(file, temporary);",
          "hdf5::flush_and_close(file, temporary);"),
         (CHECKPOINT + "seal.cpp", "check(fsync(file.number()) == 0,",
          "check(file.number() >= 0,")],
        RECORDED + ["keep-few"]),
    "no fsync of the folder behind a rename": (
        [(CHECKPOINT + "files.cpp", "  sync_names(final_name.parent_path());\n", "")],
        RECORDED + ["keep-few"]),
    "the master has its name before its contents": (
        [(CHECKPOINT + "master.cpp", "fs::path temporary = temporary_of(folder / master_name);",
          "fs::path temporary = folder / master_name;"),
         (CHECKPOINT + "master.cpp", "check(!fs::exists(path), \"checkpoint\",",
          "check(fs::exists(path), \"checkpoint\",")],
        RECORDED + ["three-ranks"]),
    "the master comes before the shards of this rank": (
        [(CHECKPOINT + "shard.cpp", "  publish_file(temporary_, final_name_);\n",
          "  std::filesystem::rename(temporary_, final_name_);\n")],
        RECORDED + ["two-ranks"]),
    "retention takes the shards first": (
        [("launch/path/retention.cpp", "} else if (let_leave(folder)) {",
          "} else if (fs::remove_all(folder / \"shards\") > 0) {")],
        RECORDED + ["keep-few"]),
    "the moments go before the master that lists them": (
        [(CHECKPOINT + "moments.cpp", "    let_moments_leave(checkpoint, [&]",
          "    remove_files(checkpoint);\n    let_moments_leave(checkpoint, [&]")],
        RECORDED + ["keep-few"]),
    "small files are written in place": (
        [("core/files.cpp", "  const fs::path temporary = temporary_of(file);\n",
          "  const fs::path temporary = file;\n")],
        RECORDED + ["stop-and-go"]),
    "small files are renamed without fsync": (
        [("core/files.cpp", "write_whole(temporary, text, Durability::on_disk)",
          "write_whole(temporary, text, Durability::in_memory)")],
        RECORDED + ["fork"]),
    "small files have no fsync of their folder": (
        [("core/files.cpp", "  problem = sync_folder(file.parent_path());\n", "")],
        RECORDED + ["fork"]),
    "an error of fsync is ignored": (
        [(CHECKPOINT + "direct_file.cpp", "fsync(cached_.number()) == 0",
          "fsync(cached_.number()) <= 0")],
        RECORDED + ["failing-syncs"]),
    "a short write is taken for a whole one": (
        [("core/files.cpp", "    bytes = bytes.subspan(static_cast<size_t>(written));\n"
          "    position += written;\n", "    bytes = {};\n    position += written;\n")],
        ["--kind", "short", "--count", "40"]),
    "a saved step has no record on the disk": (
        [("launch/saver.cpp", "    sync_metrics(run_.folder());\n", "")],
        RECORDED + ["keep-few"]),
    "lines that are given up are lost": (
        [("launch/metrics.cpp", "    sync_lines(given_up);  // before they go here\n", "")],
        RECORDED + ["give-up"]),
    "an average has its name in memory alone": (
        [("launch/path/unfinished_folder.cpp", "  bring_to_disk(name_.parent_path());\n", "")],
        RECORDED + ["average"]),
    "the folder of the checkpoints has no name on the disk": (
        [(CHECKPOINT + "files.cpp", "make_folder(folder / shards_name, \"checkpoint\");",
          "fs::create_directories(folder / shards_name);"),
         (CHECKPOINT + "files.cpp", "{folder, above, above.parent_path()}", "{folder, above}"),
         # which brings the run's names to the disk as well
         ("launch/path/run_folder.cpp", 'write_file_atomically(folder_ / saved_name, "steps are '
          'saved in checkpoints/\\n", "path");', "ignored.clear();")],
        RECORDED + ["keep-few"]),
    "a master that was taken back may return without its shards": (
        [(CHECKPOINT + "files.cpp",
          "= sync_folder(folder);", "= had_master ? sync_folder(folder) : std::error_code();")],
        RECORDED + ["failing-syncs"]),
    "a rename that fails is ignored": (
        [(CHECKPOINT + "files.cpp",
          'require(rename(temporary.c_str(), final_name.c_str()) == 0, "give its final name to", '
          'temporary);',
          "if (rename(temporary.c_str(), final_name.c_str()) != 0) return;")],
        ["--kind", "error", "--count", "80"]),
    "a write that fails is ignored": (
        [(CHECKPOINT + "direct_file.cpp",
          "return pwrite_all(cached_, position, bytes) ? std::error_code() : last_error();",
          "pwrite_all(cached_, position, bytes);\n  return {};")],
        ["--kind", "error", "--count", "80"]),
    "a short read is taken for the file's end": (
        [("core/files.cpp",
          "    bytes = bytes.subspan(static_cast<size_t>(got));\n    total += got;\n",
          "    total += got;\n    break;\n")],
        ["--kind", "read", "--count", "40"]),
    "what a killed save left is never removed": (
        [("launch/path/retention.cpp",
          "    run_.check_held();\n    remove_checkpoint(entry.folder);\n",
          "    run_.check_held();\n")],
        ["--kind", "die", "--kind", "die-group", "--count", "60"]),
    "a disk that is full or read-only is no fault of storage": (
        [("core/error.cpp", 'where == "checkpoint" || ', "")],
        ["--kind", "small-disk", "--kind", "read-only", "--count", "24"]),
}
