"""Results of a run: a file of JSON lines, one archive of all that is worth carrying, a table."""
import io
import json
import os
import tarfile
import time

MOST_LINES = 100
MOST_BYTES_OF_LOG = 1 << 20  # of each; the archive has to travel
SECONDS_BETWEEN = 2          # of two archives while a stage runs


def append(results, **line):
    """Behind a line that was cut, by a full disk or a signal, on one of its own."""
    whole = not results.exists() or len(whole_lines(results)) == results.stat().st_size
    with open(results, "a") as file:
        file.write(("" if whole else "\n") + json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def whole_lines(path):
    """The file without a last line that is still being written."""
    data = path.read_bytes() if path.exists() else b""
    return data[:data.rfind(b"\n") + 1]


def read(path):
    lines = []
    for line in whole_lines(path).splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:  # it was cut
            pass
    return lines


def stamp(path):
    """Another one when the file has changed; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return path, status.st_size, status.st_mtime_ns


class Archive:
    """The one file that results leave by, whole at any moment: written aside and renamed."""

    def __init__(self, path, folder):
        self.path, self.folder, self.written, self.why_not = path, folder, 0.0, ""
        self.stamps_written = None

    def files(self):
        return [self.folder / "results.jsonl", *sorted(self.folder.glob("*.log")),
                *sorted(self.folder.glob("profile-*.txt")), *self.folder.glob("tuning/*.jsonl")]

    def members(self):
        for path in self.files():
            data = whole_lines(path) if path.suffix == ".jsonl" else path.read_bytes()
            if path.suffix == ".log":
                data = data[-MOST_BYTES_OF_LOG:]
            yield str(path.relative_to(self.folder)), data

    def stamps(self):
        return [stamp(path) for path in self.files()]

    def write(self):
        """Where there is no room the archive before stays, and the run goes on."""
        try:
            self.begin()
            self.why_not = ""
        except OSError as problem:
            self.why_not = problem.strerror

    def begin(self):
        """Writes it, or raises OSError and leaves nothing."""
        unfinished = self.path.with_name(self.path.name + ".new")
        self.written, stamps = time.monotonic(), self.stamps()
        try:
            with tarfile.open(unfinished, "w:gz", compresslevel=6) as tar:
                for name, data in self.members():
                    info = tarfile.TarInfo("switchyard-gpu-results/" + name)
                    info.size, info.mtime = len(data), int(time.time())
                    tar.addfile(info, io.BytesIO(data))
            os.replace(unfinished, self.path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        self.stamps_written = stamps

    def write_now_and_then(self):
        """Where something is new, also when nothing has come for a while."""
        waited = time.monotonic() - self.written > SECONDS_BETWEEN
        if waited and self.stamps() != self.stamps_written:
            self.write()


class Follower:
    """Prints each new result of a file of JSON lines."""

    def __init__(self, results):
        self.results, self.seen = results, 0

    def print_new(self):
        lines = read(self.results)
        for line in lines[self.seen:]:
            print(one_line(line), flush=True)
        self.seen = len(lines)


def number(value):
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def figures(line):
    return "  ".join(f"{name} {number(value)}"
                     for name, value in line.get("shown", line.get("figures", {})).items())


def outcome(results):
    """(status, why) of a stage that came to its end, by its results; they say why themselves."""
    statuses = {line["status"] for line in results}
    if not statuses:
        return "failed", "it ended without a result"
    if "failed" in statuses:
        return "failed", ""
    return ("passed" if "passed" in statuses else "skipped"), ""


def one_line(line):
    if line["name"] == "stage":
        why = f"  {line['why']}" if line.get("why") else ""
        return f"{line['stage']:<14} {line['status']:<8} {line.get('seconds', 0):7.1f} s{why}"[:240]
    rest = "  ".join(part for part in (figures(line), line.get("why", "")) if part)
    return f"{line['stage']:<14} {line['status']:<8} {line['name']}: {rest}"[:240]


def report(lines, archive):
    """Failures first, table last; never more than MOST_LINES lines. The exit status.

    A stage's own line is not counted beside its results, but where it says why it failed itself.
    """
    counted = [line for line in lines if line["name"] != "stage" or line.get("why")]
    failures = [line for line in counted if line["status"] == "failed"]
    failed = [f"FAILED {line['stage']}: {line['name']}: {line.get('why', '')}"[:400]
              for line in failures]
    table = [one_line(line) for line in lines if line not in failures or line.get("figures")]
    room = MOST_LINES - 2
    shown = failed[:room // 2]
    rest = table[-(room - len(shown)):]
    hidden = len(failed) - len(shown) + len(table) - len(rest)
    print("\n" + "\n".join(shown + rest))
    count = {s: sum(line["status"] == s for line in counted) for s in ("passed", "failed", "skipped")}
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"
          f"{f', {hidden} lines not shown' if hidden else ''}; {archive.path}"
          f"{f' is older than this table: {archive.why_not}' if archive.why_not else ''}", flush=True)
    return 0 if count["passed"] and not failed else 1
